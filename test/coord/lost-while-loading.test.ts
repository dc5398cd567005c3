import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Coordinator } from '../../coord/coordinator.js';
import type { TensorSource } from '../../model/tensor-source.js';
import { Turns } from '../../stage/turns.js';
import type { Message } from '../../transport/messages/messages.js';
import { listen } from '../../transport/protocol/peers.js';
import type { Listener } from '../../transport/wire/tcp.js';
import type { Connection } from '../../transport/wire/connection.js';
import { silent } from '../support/cluster.js';
import { openTestEngine } from '../support/engines.js';
import { tinyModel } from '../support/tiny-model.js';

let cacheDirectory: string;
const listeners: Listener[] = [];
beforeEach(async () => {
  cacheDirectory = await mkdtemp(path.join(os.tmpdir(), 'daisychain-'));
});
afterEach(async () => {
  for (const listener of listeners.splice(0)) await listener.close();
  await rm(cacheDirectory, { recursive: true, force: true });
});

/** What a worker does with a message of its control connection. */
type Script = (message: Message, control: Connection) => void;

/** Something that says it is a worker, and does what a script says. */
async function startWorker(
  script: Script,
  onWeights: (connection: Connection) => void = () => undefined,
  onControl: (connection: Connection) => void = () => undefined,
) {
  const welcome = {
    softwareVersion: 'test',
    name: 'scripted',
    machineId: 'scripted',
    engine: 'ggml',
    modelFingerprint: '',
    freeBytes: 8e9,
    device: 'CPU',
    threads: 1,
    busy: false,
  };
  const listener = await listen({
    host: '127.0.0.1',
    port: 0,
    answer: () => ({ welcome }),
    onConnection: (connection, { role }) => {
      if (role === 'weights') return onWeights(connection);
      connection.onMessage = (message) => script(message, connection);
      onControl(connection);
    },
    onRejected: () => undefined,
  });
  listeners.push(listener);
  return { host: '127.0.0.1', port: listener.port };
}

function open(
  workers: readonly { host: string; port: number }[],
  source: TensorSource = tinyModel('q4_0', {}, { layers: workers.length + 1 }),
): Promise<Coordinator> {
  return Coordinator.open({
    source,
    engine: openTestEngine('ggml'),
    turns: new Turns(),
    workers,
    layers: [1, ...workers.map(() => 1)],
    context: 64,
    kvType: 'f16',
    calibrationText: () => new Int32Array(0),
    codec: 'f32',
    chunkTokens: 16,
    cacheDirectory,
    softwareVersion: 'test',
    logger: silent,
  });
}

const die = (control: Connection) => control.close('it was switched off');
const ready = { weights: 1, kv: 1, compute: 1, kvType: 'f16', movesPages: true };

/** A worker that has everything it needs; what it does instead of answering is up to the script. */
const upTo =
  (kind: Message['kind'], act: (control: Connection) => void): Script =>
  (message, control) => {
    if (message.kind === kind) return act(control);
    if (message.kind === 'loadShard')
      control.send('ready', { stage: message.body.stage, ...ready });
  };

const lost = (port: number) => new RegExp(`^lost worker 127.0.0.1:${port}: it was switched off$`);

describe('a worker that is lost', () => {
  test('while the coordinator hashes its shard', async () => {
    const model = tinyModel('q4_0', {}, { layers: 2 });
    let control: Connection | undefined;
    const address = await startWorker(
      () => undefined,
      undefined,
      (connection) => (control = connection),
    );
    const source: TensorSource = {
      ...model,
      read: async (...given) => {
        if (control) die(control);
        await model.read(...given);
        await new Promise((resolve) => setTimeout(resolve, 20));
      },
    };
    await expect(open([address], source)).rejects.toThrow(lost(address.port));
  });

  test('when it is told to load', async () => {
    const address = await startWorker(upTo('loadShard', die));
    await expect(open([address])).rejects.toThrow(lost(address.port));
  });

  test('while it is sent its tensors', async () => {
    let control: Connection | undefined;
    const address = await startWorker(
      (message, connection) => {
        control = connection;
        if (message.kind !== 'loadShard') return;
        const { stage, tensors } = message.body;
        connection.send('missing', { stage, names: tensors.map(({ name }) => name) });
      },
      (weights) => {
        weights.onMessage = () => control && die(control);
      },
    );
    await expect(open([address])).rejects.toThrow(lost(address.port));
  });

  test('while it loads what it has', async () => {
    const address = await startWorker((message, control) => {
      if (message.kind !== 'loadShard') return;
      const { stage } = message.body;
      control.send('missing', { stage, names: [] });
      control.send('loadProgress', { stage, loadedBytes: 1, totalBytes: 2 });
      die(control);
    });
    await expect(open([address])).rejects.toThrow(lost(address.port));
  });

  test('when it is linked', async () => {
    const address = await startWorker(upTo('link', die));
    await expect(open([address])).rejects.toThrow(lost(address.port));
  });
});

test('the first refusal has the others given up', async () => {
  let givenUp: (() => void) | undefined;
  const ended = new Promise<void>((resolve) => (givenUp = resolve));
  const never = await startWorker(
    () => undefined,
    undefined,
    (control) => void control.closed.then(() => givenUp?.()),
  );
  const refusing = await startWorker((message, control) => {
    if (message.kind !== 'loadShard') return;
    const { stage } = message.body;
    control.send('failed', { stage, code: 'load', message: 'its disk is full' });
  });
  await expect(open([never, refusing])).rejects.toMatchObject({
    code: 'worker-refused',
    message: `worker 127.0.0.1:${refusing.port}: its disk is full`,
  });
  await ended;
});
