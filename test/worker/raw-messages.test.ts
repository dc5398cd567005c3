import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Shard } from '../../step/shard.js';
import {
  decodeStepBody,
  type Message,
  type MessageKind,
  type StepBody,
} from '../../transport/messages/messages.js';
import { protocolVersion } from '../../transport/protocol/handshake.js';
import { encodeBody } from '../../transport/protocol/steps.js';
import { segmentOf } from '../stage/support/segments.js';
import { tinyModel, tinyShape } from '../support/tiny-model.js';
import {
  AttackedStage,
  headerOf,
  payloadOf,
  sendStep,
  type StepAttack,
} from './support/attacked-stage.js';
import { AttackedWorker } from './support/attacked-worker.js';
import { describedShardMessage, sessionId } from './support/coordinator.js';
import { emptyMessages, oddHeaders, oddStepBodies, type OddMessage } from './support/odd-fields.js';
import { until, type RawPeer } from './support/raw-peer.js';

// What our own encoder would not write, to a real worker: a process of its own, which must not end.

const model = tinyModel('q8_0', {}, { layers: 2 });
const whole: Shard = { firstLayer: 0, endLayer: 2, embedding: true, head: true };
const tail: Shard = { firstLayer: 1, endLayer: 2, embedding: false, head: true };

const step = { id: 7, epoch: 1, segments: [segmentOf([5, 6, 7], 0, 1)] };
const noHidden = new Uint8Array(0);
const hidden = hiddenStates(Math.sin);

function hiddenStates(valueOf: (i: number) => number): Uint8Array {
  const values = Float32Array.from({ length: 3 * tinyShape.hiddenSize }, (_, i) => valueOf(i));
  return new Uint8Array(values.buffer);
}

/** What the worker computes and has before it is attacked. */
async function state(): Promise<{ name: string; choices?: number[]; residentBytes: number }> {
  const control = await worker.load(model, whole);
  const stage = new AttackedStage(worker, control, 1, { step, hidden: noHidden });
  const { choices } = await stage.compute(await stage.open());
  control.say('statsRequest', { request: 1, stage: 1, reset: false });
  const stats = await control.next('stats');
  await control.close();
  return {
    name: (await worker.welcome()).name,
    ...(choices ? { choices } : {}),
    residentBytes: stats?.kind === 'stats' ? stats.body.report.residentBytes : 0,
  };
}

let worker: AttackedWorker;
let before: Awaited<ReturnType<typeof state>>;
beforeAll(async () => {
  worker = await AttackedWorker.start();
  before = await state();
});
afterAll(() => worker[Symbol.asyncDispose]());

test('a hello that makes no sense', async () => {
  const hello = {
    protocolVersion,
    softwareVersion: 'test',
    role: 'control',
    session: sessionId,
    name: 'a test',
    stage: 1,
    codec: 'f32',
  };
  for (const { what, bytes } of [...oddHeaders('hello', hello), ...emptyMessages()]) {
    const peer = await worker.connect();
    peer.send(bytes);
    const answer = await peer.next('welcome', 'refuse', 'goodbye');
    worker.judge(what, answer ? [answer] : [], answer === undefined);
    await peer.close();
    await worker.untilFree();
  }
});

describe('control messages that make no sense', () => {
  let control: RawPeer;
  let requests = 1000;
  beforeAll(async () => void (control = await worker.load(model, whole)));
  afterAll(() => control.close());

  /** Sends what makes no sense, and waits until the worker has dealt with it. */
  async function attack({ what, bytes }: OddMessage, ...answers: MessageKind[]): Promise<void> {
    const isAnswer = ({ kind }: Message) => answers.includes(kind);
    control.send(bytes);
    await until(() => control.isClosed || answers.length === 0 || control.hasHeard(isAnswer));
    const said = control.takeAll();
    // What was loaded, or waits for tensors, is of no use.
    for (const { kind, body } of said)
      if (kind === 'ready' || kind === 'missing') control.say('unload', { stage: body.stage });
    const request = ++requests;
    const isLast = ({ kind, body }: Message) => kind === 'stats' && body.request === request;
    control.say('statsRequest', { request, stage: 1, reset: false });
    await until(() => control.isClosed || control.hasHeard(isLast));
    worker.judge(what, [...said, ...control.takeAll()], control.isClosed);
    if (control.isClosed) control = await worker.load(model, whole);
  }

  test('to load a shard', async () => {
    const body = await describedShardMessage(model, whole, 2);
    for (const odd of oddHeaders('loadShard', body))
      await attack(odd, 'ready', 'missing', 'failed');
  });

  test('to link a stage', async () => {
    // Nobody listens there.
    const next = { host: '127.0.0.1', port: 1, stage: 1, codec: 'f32', transport: 'tcp' };
    for (const odd of oddHeaders('link', { stage: 1, epoch: 1, next: { ...next, rdmaQueue: '' } }))
      await attack(odd, 'linked', 'failed');
  });

  test('of other kinds', async () => {
    const messages = [
      ...oddHeaders('unload', { stage: 3 }),
      ...oddHeaders('cancel', { steps: [1], sequences: [1] }),
      ...oddHeaders('statsRequest', { request: 1, stage: 1, reset: false }),
      ...oddHeaders('bandwidthRequest', { request: 1, stage: 1 }),
      ...oddHeaders('traceRequest', { request: 1, stage: 1, start: true }),
      ...emptyMessages(),
    ];
    for (const odd of messages) await attack(odd);
  });
});

describe('steps that make no sense', () => {
  let control: RawPeer;
  beforeAll(async () => void (control = await worker.load(model, whole, tail)));
  afterAll(() => control.close());

  describe.each([
    ['that embeds', 1, noHidden],
    ['that does not', 2, hidden],
  ])('to a stage %s', (_, number, hidden) => {
    const stage = () => new AttackedStage(worker, control, number, { step, hidden });

    test('in what is asked', async () => {
      const body = decodeStepBody(encodeBody(step)) as StepBody;
      const attacks = oddStepBodies(body).map(({ what, bytes }): StepAttack => {
        const header = { ...headerOf(step), bodyBytes: bytes.byteLength };
        return [what, (link) => link.say('step', header, payloadOf(bytes, hidden))];
      });
      await stage().attack(attacks);
    });

    test('in their header', async () => {
      const payload = payloadOf(encodeBody(step), hidden);
      await stage().attack(
        oddHeaders('step', headerOf(step)).map(({ what, bytes }) => [
          what,
          (link) => link.send(bytes, payload),
        ]),
      );
    });

    test('in their hidden states', async () => {
      const odd = [
        noHidden,
        hiddenStates(() => 0).subarray(0, 512),
        hiddenStates(() => 0).subarray(0, 700),
        new Uint8Array(1 << 20),
        ...[NaN, Infinity, -3e38].map((value) => hiddenStates(() => value)),
      ];
      await stage().attack(
        odd.map((states, i) => [`hidden states ${i}`, (link) => sendStep(link, step, states)]),
      );
    });
  });

  test('and other messages in their place', async () => {
    const stage = new AttackedStage(worker, control, 1, { step, hidden: noHidden });
    await stage.attack(
      emptyMessages().map(({ what, bytes }) => [what, (link) => link.send(bytes)]),
    );
  });

  test('and offers of how to send them', async () => {
    const stage = new AttackedStage(worker, control, 1, { step, hidden: noHidden });
    const address = { number: 1, firstPacket: 1, lid: 1, mtu: 1024, gid: new Uint8Array(16) };
    const offer = { transport: 'rdma', queue: 'rc', slotBytes: 4096, address };
    for (const { what, bytes } of [...oddHeaders('channelOffer', offer), ...emptyMessages()]) {
      const link = await stage.connect();
      link.send(bytes);
      const { choices, said } = await stage.compute(link);
      worker.judge(what, [...said, ...link.takeAll()], choices === undefined);
      await link.close();
    }
  });
});

test('tensors that make no sense', async () => {
  const message = await describedShardMessage(model, whole);
  const [first, ...others] = message.tensors;
  // Nobody has this tensor.
  const tensors = first ? [{ ...first, sha256: '0'.repeat(64) }, ...others] : [];
  const name = first?.name ?? '';
  const attacks = [...oddHeaders('tensorData', { name, offset: 0 }), ...emptyMessages()];
  await worker.untilFree();
  const control = await worker.welcomed('control');
  try {
    for (const { what, bytes } of attacks) {
      control.say('loadShard', { ...message, tensors });
      expect((await control.next('missing', 'failed'))?.kind).toBe('missing');
      const weights = await worker.welcomed('weights', { stage: 1 });
      weights.send(bytes, new Uint8Array(1000));
      // Whatever came of it, this ends the delivery.
      weights.say('tensorData', { name: 'unheard-of', offset: 0 });
      const failed = await control.next('failed');
      expect(failed?.kind).toBe('failed');
      worker.judge(what, [...(failed ? [failed] : []), ...weights.takeAll()], false);
      await weights.close();
    }
  } finally {
    await control.close();
  }
});

test('have all been answered by a process that is there, and computes what it did', async () => {
  const { answered, refused, closed } = worker.outcomes;
  expect(answered + refused + closed).toBeGreaterThan(1000);
  expect(refused).toBeGreaterThan(200);
  const { residentBytes, ...after } = await state();
  expect({ ...after, residentBytes: before.residentBytes }).toEqual(before);
  expect(residentBytes - before.residentBytes).toBeLessThan(100e6);
});
