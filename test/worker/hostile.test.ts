import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { passingSecret } from '../../app/cluster-secret.js';
import { SpawnedWorkers } from '../../app/spawn.js';
import type { Step } from '../../step/step.js';
import type { Message, MessageKind, Messages } from '../../transport/messages/messages.js';
import { inquire } from '../../transport/protocol/peers.js';
import { encodeBody } from '../../transport/protocol/steps.js';
import type { Connection } from '../../transport/wire/connection.js';
import { segmentOf } from '../stage/support/segments.js';
import { tinyModel } from '../support/tiny-model.js';
import { connectAs, describedShardMessage, TestCoordinator } from './support/coordinator.js';
import { oddLinks, oddLoads, oddSteps } from './support/odd-messages.js';
import { temporaryFolder } from './support/worker.js';

// What a coordinator may say that makes no sense, to a real worker: a process of its own, which must not end.

const model = tinyModel('q8_0');
const whole = { firstLayer: 0, endLayer: 3, embedding: true, head: true };
const shared = passingSecret();
const good = segmentOf([5, 6], 0, 1);
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let workers: SpawnedWorkers;
let message: Messages['loadShard'];

beforeAll(async () => {
  folder = await temporaryFolder();
  const settings = {
    threads: 1,
    cacheDir: folder.path,
    device: 'cpu',
    logLevel: 'silent',
  } as const;
  workers = await SpawnedWorkers.start(1, settings, [], shared.text);
  message = await describedShardMessage(model, whole);
});
afterAll(async () => {
  await workers.end();
  await folder[Symbol.asyncDispose]();
});

const port = () => workers.addresses[0]?.port ?? 0;

/** Who the worker is, and whether it is busy. */
async function welcome() {
  const hello = { softwareVersion: 'test', name: 'somebody' };
  const address = { host: '127.0.0.1', port: port(), secret: shared.secret };
  return (await inquire({ ...address, hello })).welcome;
}

let coordinator: TestCoordinator | undefined;

/** The session, or another one after the worker has ended it. */
async function session(): Promise<TestCoordinator> {
  while (!coordinator) {
    const { busy } = await welcome();
    if (busy) await new Promise((resolve) => setTimeout(resolve, 5));
    else coordinator = await TestCoordinator.connect(port(), shared.secret);
  }
  return coordinator;
}

/** What the worker says to a message; when it ends the session, that is its goodbye. Either is one line. */
async function answerTo<Kind extends MessageKind>(
  what: string,
  kind: Kind,
  body: Messages[Kind],
  answers: readonly MessageKind[],
): Promise<Message> {
  const current = await session();
  current.send(kind, body);
  const answer = await current.nextOf(...answers).catch(async (): Promise<Message> => {
    coordinator = undefined;
    return goodbye((await current.control.closed).message);
  });
  if (answer.kind === 'failed') isOneLine(what, answer.body.message);
  if (answer.kind === 'goodbye') isOneLine(what, answer.body.reason);
  return answer;
}

function goodbye(reason: string): Message {
  return { kind: 'goodbye', body: { reason } };
}

function isOneLine(what: string, text: string): void {
  // eslint-disable-next-line no-control-regex
  expect(text, what).toMatch(/^[^\x00-\x1f]{1,1100}$/);
}

/** Has something odd loaded, and unloaded again. @returns the kinds of answers, and how many there were of each */
async function loadAllThatIsOdd(): Promise<Partial<Record<MessageKind, number>>> {
  const counts: Partial<Record<MessageKind, number>> = {};
  for (const [what, body] of oddLoads(message, 'qwen3')) {
    const { kind } = await answerTo(what, 'loadShard', body, ['ready', 'missing', 'failed']);
    counts[kind] = (counts[kind] ?? 0) + 1;
    await answerTo(what, 'unload', { stage: body.stage }, ['unloaded']);
    (await session()).messages.length = 0;
  }
  return counts;
}

async function residentBytes(): Promise<number> {
  const current = await session();
  current.send('statsRequest', { request: 1, stage: 1, reset: false });
  return (await current.next('stats')).report.residentBytes;
}

async function connectTensors(): Promise<Connection> {
  const hello = { role: 'tensor', stage: 1, codec: 'f32' } as const;
  const { connection } = await connectAs(port(), hello, shared.secret);
  connection.onMessage = () => undefined;
  connection.send('channelOffer', { transport: 'tcp', queue: '', slotBytes: 0 });
  return connection;
}

function sendStep(connection: Connection, step: Step): void {
  const { id, epoch } = step;
  const body = encodeBody(step);
  const payload = new Uint8Array(Math.ceil(body.byteLength / 8) * 8);
  payload.set(body);
  connection.send('step', { id, epoch, bodyBytes: body.byteLength, receipt: false }, payload);
}

describe('a worker', () => {
  test('answers every odd request to load a shard, goes on, and takes no more memory', async () => {
    // Afterwards all tensors are cached, so that what is odd is loaded at once, if it is at all.
    await (await session()).load(message, model);
    const { name } = await welcome();
    const { failed = 0, ready = 0, ...others } = await loadAllThatIsOdd();
    expect(failed).toBeGreaterThan(500);
    expect(ready).toBeGreaterThan(0);
    expect(others).toEqual({});
    await (await session()).load(message, model);
    const before = await residentBytes();
    await answerTo('a stage', 'unload', { stage: 1 }, ['unloaded']);
    await loadAllThatIsOdd();
    await (await session()).load(message, model);
    expect(await residentBytes()).toBeLessThan(before + 30e6);
    expect((await welcome()).name).toBe(name);
  });

  test('answers every odd request to link a stage', async () => {
    const next = { host: '127.0.0.1', port: 1, stage: 1, codec: 'f32' };
    const link = { stage: 1, epoch: 1, next: { ...next, transport: 'tcp', rdmaQueue: '' } };
    const links = oddLinks(link);
    expect(links.length).toBeGreaterThan(50);
    for (const [what, body] of links) {
      const { kind } = await answerTo(what, 'link', body, ['linked', 'failed']);
      expect(kind, what).toBe('failed');
    }
  });

  test('computes or refuses every odd step', async () => {
    const current = await session();
    current.send('link', { stage: 1, epoch: 1 });
    await current.nextOf('linked');
    const steps = oddSteps(good, message.maxStepRows);
    const counts = { result: 0, stepFailed: 0, goodbye: 0 };
    let tensors = await connectTensors();
    for (const [what, step] of steps) {
      sendStep(tensors, step);
      const ended = tensors.closed.then((reason) => goodbye(reason.message));
      const answer = await Promise.race([current.nextOf('result', 'stepFailed'), ended]);
      if (answer.kind === 'stepFailed') isOneLine(what, answer.body.message);
      if (answer.kind === 'goodbye') {
        isOneLine(what, answer.body.reason);
        tensors = await connectTensors();
      }
      counts[answer.kind as keyof typeof counts]++;
    }
    expect(steps.length).toBeGreaterThan(150);
    expect(Object.values(counts).every((count) => count > 20)).toBe(true);
    sendStep(tensors, { id: 77, epoch: 1, segments: [good] });
    expect((await current.next('result')).id).toBe(77);
  });
});
