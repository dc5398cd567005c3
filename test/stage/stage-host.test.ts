import { afterEach, describe, expect, test } from 'vitest';
import { EngineError } from '../../engine/engine.js';
import type { NextStage } from '../../stage/outgoing-link.js';
import { StageHost } from '../../stage/stage-host.js';
import { Turns } from '../../stage/turns.js';
import type { Shard } from '../../step/shard.js';
import type { SegmentResult, Step } from '../../step/step.js';
import type { CodecName } from '../../transport/wire/codecs/codec.js';
import { listen } from '../../transport/protocol/peers.js';
import { choiceAfter } from '../support/deterministic-stage.js';
import { FakeEngine } from '../support/fake-engine.js';
import { silent } from '../support/silent.js';
import { tinyModel, tinyShape } from '../support/tiny-model.js';
import { closeAll, closeLater, welcomeAll } from '../transport/support/sockets.js';
import { segmentOf } from './support/segments.js';

afterEach(closeAll);

const source = tinyModel('f32');
const first: Shard = { firstLayer: 0, endLayer: 1, embedding: true, head: false };
const last: Shard = { firstLayer: 1, endLayer: 3, embedding: false, head: true };
const maxStepRows = 16;
const sizes = { source, cells: 256, conversations: 1, kvType: 'f16', maxStepRows } as const;

/** A stage host that notes what comes of its steps. */
class Hosted {
  readonly results = new Map<number, readonly SegmentResult[]>();
  readonly failures: string[] = [];
  readonly losses: string[] = [];
  readonly engine = new FakeEngine();
  readonly host: StageHost;
  #wake: () => void = () => undefined;

  constructor(name: string) {
    const options = {
      name,
      session: 'a session',
      softwareVersion: 'test',
      channel: { transport: 'tcp', logger: silent },
      hiddenSize: tinyShape.hiddenSize,
      maxStepRows,
      turns: new Turns(),
      logger: silent,
    } as const;
    this.host = new StageHost(options, {
      onResult: ({ id }, results) => this.#note(() => this.results.set(id, results)),
      onStepFailed: ({ id }, { message }) =>
        this.#note(() => this.failures.push(`${id}: ${message}`)),
      onLinkLost: ({ message }) => this.#note(() => this.losses.push(message)),
    });
    closeLater(() => this.host.close('the test is over'));
  }

  /** Waits until something is true that `results`, `failures` or `losses` tell. */
  async until(isTrue: () => boolean): Promise<void> {
    while (!isTrue()) await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  load(shard: Shard) {
    return this.host.load(this.engine, { ...sizes, shard });
  }

  /** Listens for the stage before. */
  async listen(): Promise<NextStage> {
    const listener = await listen({
      host: '127.0.0.1',
      port: 0,
      answer: welcomeAll,
      onConnection: (connection, { codec }) =>
        void this.host.attach(connection, codec as CodecName).catch(() => undefined),
      onRejected: () => undefined,
    });
    closeLater(() => listener.close());
    return { host: '127.0.0.1', port: listener.port, stage: 7, codec: 'f32' };
  }

  #note(add: () => void): void {
    add();
    this.#wake();
  }
}

async function lastStage(name = 'last'): Promise<{ stage: Hosted; address: NextStage }> {
  const stage = new Hosted(name);
  await stage.load(last);
  return { stage, address: await stage.listen() };
}

function stepOf(id: number, text: readonly number[], epoch = 1): Step {
  return { id, epoch, segments: [segmentOf(text, text.length - 1, 1)] };
}

async function choicesOf(stage: Hosted, id: number): Promise<number[]> {
  await stage.until(() => stage.results.has(id));
  return [...(stage.results.get(id)?.[0]?.choices ?? [])];
}

describe('stages that are linked', () => {
  test('compute a text together', async () => {
    const { stage, address } = await lastStage();
    const own = new Hosted('own');
    await own.load(first);
    await own.host.link(1, address);
    const text = [5];
    for (let id = 1; id <= 20; id++) {
      await own.host.submit(stepOf(id, text));
      const [choice = -1] = await choicesOf(stage, id);
      expect(choice).toBe(choiceAfter(text));
      text.push(choice);
    }
    expect(own.host.report).toMatchObject({ steps: 20, bytesReceived: 0 });
    expect(own.host.report.bytesSent).toBeGreaterThan(20 * 4 * tinyShape.hiddenSize);
    expect(stage.host.report.bytesReceived).toBe(own.host.report.bytesSent);
    own.host.resetReport();
    expect(own.host.report).toMatchObject({ steps: 0, bytesSent: 0 });
  });

  test('trace what they do', async () => {
    const { stage, address } = await lastStage();
    const own = new Hosted('own');
    await own.load(first);
    await own.host.link(1, address);
    for (const { host } of [own, stage]) host.tracer.start();
    await own.host.submit(stepOf(1, [5]));
    await choicesOf(stage, 1);
    const kinds = ({ host }: Hosted) => new Set(host.tracer.stop().map(({ what }) => what));
    expect(kinds(own)).toEqual(new Set(['compute', 'encode', 'send']));
    expect(kinds(stage)).toEqual(new Set(['receive', 'decode', 'compute']));
  });

  test('of which the first is empty pass steps on', async () => {
    const stage = new Hosted('whole');
    await stage.load({ ...last, firstLayer: 0, embedding: true });
    const own = new Hosted('own');
    await own.host.link(1, await stage.listen());
    await own.host.submit(stepOf(1, [5]));
    expect(await choicesOf(stage, 1)).toEqual([choiceAfter([5], 1)]);
    expect(own.host.stage).toBeUndefined();
  });

  test('drop what is cancelled', async () => {
    const { stage, address } = await lastStage();
    const own = new Hosted('own');
    await own.load(first);
    await own.host.link(1, address);
    own.host.cancel([{ step: 1, sequence: 1 }]);
    stage.host.cancel([{ step: 2, sequence: 1 }]);
    for (const id of [1, 2, 3]) await own.host.submit(stepOf(id, [5]));
    await choicesOf(stage, 3);
    expect([...stage.results.keys()]).toEqual([3]);
    expect(own.host.report.steps).toBe(2);
    expect(stage.host.report.steps).toBe(1);
  });
});

describe('a stage that is linked anew', () => {
  test('sends to the new stage only, and has lost nothing', async () => {
    const before = await lastStage('before');
    const after = await lastStage('after');
    const own = new Hosted('own');
    await own.load(first);
    await own.host.link(1, before.address);
    await own.host.submit(stepOf(1, [5]));
    await choicesOf(before.stage, 1);
    await own.host.link(2, after.address);
    await own.host.submit(stepOf(2, [5], 1));
    await own.host.submit(stepOf(3, [5], 2));
    expect(await choicesOf(after.stage, 3)).toEqual([choiceAfter([5])]);
    expect([...after.stage.results.keys()]).toEqual([3]);
    await before.stage.host.close();
    expect(own.losses).toEqual([]);
    await after.stage.host.close('is gone');
    await own.until(() => own.losses.length > 0);
    expect(own.losses).toEqual([`worker 127.0.0.1:${after.address.port}: is gone`]);
  });

  test('while it is being linked keeps the last link', async () => {
    const before = await lastStage('before');
    const after = await lastStage('after');
    const own = new Hosted('own');
    await own.load(first);
    const replaced = own.host.link(1, before.address);
    await Promise.all([
      expect(replaced).rejects.toMatchObject({ name: 'TransportError', code: 'closed' }),
      own.host.link(2, after.address),
    ]);
    await own.host.submit(stepOf(1, [5], 2));
    await choicesOf(after.stage, 1);
    expect(own.losses).toEqual([]);
  });

  test('by a stage before it takes steps from that one', async () => {
    const { stage, address } = await lastStage();
    for (const epoch of [1, 2]) {
      const own = new Hosted('own');
      await own.load(first);
      await stage.host.link(epoch);
      await own.host.link(epoch, address);
      await own.host.submit(stepOf(epoch, [5], epoch));
      expect(await choicesOf(stage, epoch)).toEqual([choiceAfter([5])]);
    }
  });
});

describe('a stage that cannot go on', () => {
  test('says which step it could not send', async () => {
    const own = new Hosted('own');
    await own.load(first);
    await own.host.submit(stepOf(1, [5]));
    await own.until(() => own.failures.length > 0);
    expect(own.failures).toEqual(['1: own has no next stage']);
    const empty = new Hosted('empty');
    expect(() => empty.host.submit(stepOf(1, [5]))).toThrow('empty has no next stage');
  });

  test('cannot be linked to nobody', async () => {
    const own = new Hosted('own');
    const nobody = { host: '127.0.0.1', port: 1, stage: 1, codec: 'f32' } as const;
    await expect(own.host.link(1, nobody)).rejects.toMatchObject({ code: 'unreachable' });
    expect(own.losses).toEqual([]);
  });

  test('refuses a second shard, and keeps the first', async () => {
    const own = new Hosted('own');
    const stage = await own.load(first);
    await expect(own.load(last)).rejects.toBeInstanceOf(EngineError);
    expect(own.host.stage).toBe(stage);
    expect(own.engine.loads).toBe(1);
  });
});

describe('a stage that is closed', () => {
  test('is disposed of once, and refuses all that follows', async () => {
    const { stage, address } = await lastStage();
    await Promise.all([stage.host.close(), stage.host.close()]);
    expect(stage.engine.living).toBe(0);
    const closed = { name: 'EngineError', code: 'internal' };
    await expect(stage.load(last)).rejects.toMatchObject(closed);
    await expect(stage.host.link(2, address)).rejects.toMatchObject(closed);
    expect(() => stage.host.submit(stepOf(1, [5]))).toThrow(EngineError);
    expect(stage.host.stage).toBeUndefined();
  });

  test('gives up loading, whether the engine can or not', async () => {
    for (const canGiveUp of [true, false]) {
      const own = new Hosted('own');
      const { engine } = own;
      let go: () => void = () => undefined;
      engine.pause = new Promise((resolve) => (go = resolve));
      const load = engine.load.bind(engine);
      if (!canGiveUp) engine.load = ({ signal: _, ...options }) => load(options);
      const loading = expect(own.load(first)).rejects.toMatchObject({ name: 'EngineError' });
      const closed = own.host.close('not needed any more');
      if (!canGiveUp) go();
      await Promise.all([loading, closed]);
      expect(engine.living).toBe(0);
      expect(own.host.stage).toBeUndefined();
    }
  });

  test('gives up a step and a link under way', async () => {
    const { address } = await lastStage();
    const own = new Hosted('own');
    own.engine.delay = () => new Promise(() => undefined);
    await own.load(first);
    await own.host.submit(stepOf(1, [5]));
    const linking = own.host.link(1, address);
    await Promise.all([
      expect(linking).rejects.toMatchObject({ name: 'TransportError', code: 'closed' }),
      own.host.close(),
    ]);
    expect(own.engine.living).toBe(0);
    expect([...own.failures, ...own.losses]).toEqual([]);
  });

  test('does not keep a stage whose loading the caller gave up', async () => {
    const own = new Hosted('own');
    own.engine.pause = new Promise(() => undefined);
    const giveUp = new AbortController();
    const loading = own.host.load(own.engine, { ...sizes, shard: first, signal: giveUp.signal });
    const refused = expect(loading).rejects.toThrow('enough');
    giveUp.abort(new Error('enough'));
    await refused;
    expect(own.engine.living).toBe(0);
  });
});
