import { readdir, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import type { TensorSource } from '../../model/tensor-source.js';
import type { Shard } from '../../step/shard.js';
import type { Messages } from '../../transport/messages/messages.js';
import { tinyModel } from '../support/tiny-model.js';
import { closeAll, serve } from '../transport/support/sockets.js';
import {
  connectAs,
  describedShardMessage,
  loadShardMessage,
  sendTensor,
  tensorData,
  type TestCoordinator,
} from './support/coordinator.js';
import { TestWorker } from './support/worker.js';

afterEach(closeAll);

const model = tinyModel('f32');
const whole: Shard = { firstLayer: 0, endLayer: 3, embedding: true, head: true };
const middle: Shard = { firstLayer: 1, endLayer: 2, embedding: false, head: false };

/** The tensors that a worker keeps, and what of them is not finished. */
async function cached({
  cacheDirectory,
}: TestWorker): Promise<{ done: string[]; parts: string[] }> {
  const names = await readdir(path.join(cacheDirectory, 'tensors')).catch(() => []);
  const isPart = (name: string) => name.endsWith('.part');
  return { done: names.filter((name) => !isPart(name)), parts: names.filter(isPart) };
}

function fileOf({ cacheDirectory }: TestWorker, { tensors }: Messages['loadShard'], name: string) {
  const sha256 = tensors.find((tensor) => tensor.name === name)?.sha256 ?? '';
  return path.join(cacheDirectory, 'tensors', sha256);
}

describe('a shard that is sent', () => {
  test('is kept, and not asked for again', async () => {
    await using worker = await TestWorker.start();
    const coordinator = await worker.connect();
    const message = await describedShardMessage(model, whole);
    const sent = await coordinator.load(message, model);
    expect([...sent].sort()).toEqual(message.tensors.map(({ name }) => name).sort());
    coordinator.vanish();
    await worker.untilFree();
    const again = await worker.connect();
    expect(await again.load(message, model)).toEqual([]);
    expect((await cached(worker)).parts).toEqual([]);
  });

  test('is read as it was sent', async () => {
    await using worker = await TestWorker.start();
    let source: TensorSource | undefined;
    const load = worker.engine.load.bind(worker.engine);
    worker.engine.load = (options) => {
      source = options.source;
      return load(options);
    };
    const coordinator = await worker.connect();
    await coordinator.load(await describedShardMessage(model, middle), model);
    expect(source?.fingerprint).toBe(model.fingerprint);
    for (const name of source?.tensors.keys() ?? [])
      expect(
        Buffer.compare(
          await tensorData(source as TensorSource, name),
          await tensorData(model, name),
        ),
      ).toBe(0);
    expect(source?.tensors.size).toBe(11);
    await expect(source?.read('blk.0.attn_q.weight', 0, new Uint8Array(1))).rejects.toThrow(
      /the shard has no tensor/,
    );
  });

  test.each([
    ['flipped', (data: Uint8Array) => data.map((byte, i) => (i < 200 ? byte ^ 0xff : byte))],
    ['cut', (data: Uint8Array) => data.subarray(1)],
    ['emptied', () => new Uint8Array(0)],
  ])('and was %s in the cache is asked for again, and that is said', async (_, damage) => {
    await using worker = await TestWorker.start();
    const coordinator = await worker.connect();
    const message = await describedShardMessage(model, middle);
    await coordinator.load(message, model);
    const name = 'blk.1.ffn_up.weight';
    await writeFile(fileOf(worker, message, name), damage(await tensorData(model, name)));
    expect(await coordinator.load({ ...message, stage: 2 }, model)).toEqual([name]);
    expect(worker.log.join('\n')).toContain(`tensor ${name} is damaged in the cache`);
    expect(await coordinator.load({ ...message, stage: 3 }, model)).toEqual([]);
  });

  test('is refused when it is damaged on its way, and leaves nothing behind', async () => {
    await using worker = await TestWorker.start();
    const coordinator = await worker.connect();
    const message = await describedShardMessage(model, middle);
    const other = tinyModel('f32', {}, { seed: 99 });
    await expect(coordinator.load(message, other)).rejects.toThrow(
      /^tensor .* was damaged on its way: try again$/,
    );
    expect(await cached(worker)).toEqual({ done: [], parts: [] });
    await coordinator.load(message, model);
  });

  test('cannot be sent once more while it comes, nor when it is here', async () => {
    await using worker = await TestWorker.start();
    const coordinator = await worker.connect();
    coordinator.send('loadShard', await describedShardMessage(model, middle));
    const { names } = await coordinator.next('missing');
    const connection = await coordinator.openWeights(1);
    await expect(coordinator.openWeights(1)).rejects.toThrow(/waits for no tensors of stage 1/);
    for (const name of names) await sendTensor(connection, model, name);
    await coordinator.next('ready');
    expect((await connection.closed).message).toMatch(/all tensors have arrived/);
    await expect(coordinator.openWeights(1)).rejects.toThrow(/waits for no tensors of stage 1/);
  });

  test('and breaks off can be sent again', async () => {
    await using worker = await TestWorker.start();
    const coordinator = await worker.connect();
    const message = await describedShardMessage(model, middle);
    coordinator.send('loadShard', message);
    const { names } = await coordinator.next('missing');
    const connection = await coordinator.openWeights(1);
    await sendTensor(connection, model, names[0] ?? '');
    connection.close('changed my mind');
    expect(await coordinator.next('failed')).toMatchObject({
      stage: 1,
      code: 'load',
      message: expect.stringMatching(/did not all arrive.*changed my mind/) as string,
    });
    expect(await coordinator.load(message, model)).toEqual(names.slice(1));
  });
});

describe('memory', () => {
  test('that is short is said before anything is sent or loaded, with the figures', async () => {
    await using worker = await TestWorker.start();
    const coordinator = await worker.connect();
    worker.engine.memory = { weights: 3e6, kv: 2e6, compute: 1e6 };
    worker.engine.freeBytes = 5e6;
    const loading = coordinator.load(await describedShardMessage(model, middle), model);
    await expect(loading).rejects.toThrow(
      'not enough memory for layers 1 to 1 on fake: they need 6 MB (weights 3, KV cache 2, compute 1), 5 MB are free: give it fewer layers (--layers) or use a smaller --context',
    );
    expect(await cached(worker)).toEqual({ done: [], parts: [] });
    expect(worker.engine.loads).toBe(0);
  });

  test('is looked at again when it is the turn of a stage to be loaded', async () => {
    await using worker = await TestWorker.start({ model });
    const coordinator = await worker.connect();
    const { engine } = worker;
    let go: () => void = () => undefined;
    engine.pause = new Promise((resolve) => (go = resolve));
    coordinator.send('loadShard', loadShardMessage(model, middle, 1));
    coordinator.send('loadShard', loadShardMessage(model, middle, 2));
    await coordinator.next('loadProgress');
    engine.freeBytes = 10;
    go();
    expect(await coordinator.next('ready')).toMatchObject({ stage: 1 });
    expect(await coordinator.next('failed')).toMatchObject({ stage: 2, code: 'load' });
    expect(engine.loads).toBe(1);
  });
});

describe('a worker that holds a model', () => {
  test('refuses another', async () => {
    await using worker = await TestWorker.start({ model });
    const coordinator = await worker.connect();
    const other = tinyModel('f16');
    await expect(coordinator.load(loadShardMessage(other, whole), other)).rejects.toThrow(
      /holds another model file than the coordinator: start it with the same file/,
    );
  });
});

/** Brings a worker to some moment, in which its coordinator then goes away. */
type Phase = (coordinator: TestCoordinator, worker: TestWorker) => Promise<unknown>;

const described = (stage = 1) => describedShardMessage(model, whole, stage);
const never = () => new Promise<never>(() => undefined);

async function sending(coordinator: TestCoordinator) {
  coordinator.send('loadShard', await described());
  const { names } = await coordinator.next('missing');
  const connection = await coordinator.openWeights(1);
  return { connection, names };
}

const phases: readonly (readonly [string, Phase])[] = [
  ['before it asks for anything', () => Promise.resolve()],
  [
    'when it has just asked',
    async (coordinator) => coordinator.send('loadShard', await described()),
  ],
  [
    'when the cache is looked through',
    async (coordinator) => {
      await coordinator.load(await described(), model);
      coordinator.send('loadShard', await described(2));
    },
  ],
  [
    'when it is to send tensors',
    async (coordinator) => {
      coordinator.send('loadShard', await described());
      await coordinator.next('missing');
    },
  ],
  ['when it is about to send tensors', (coordinator) => sending(coordinator)],
  [
    'amid a tensor',
    async (coordinator) => {
      const { connection, names } = await sending(coordinator);
      const [name = ''] = names;
      const data = (await tensorData(model, name)).subarray(0, 8);
      const stored = new Promise((resolve) => (connection.onMessage = resolve));
      connection.send('tensorData', { name, offset: 0 }, data);
      await stored;
    },
  ],
  [
    'while weights are loaded',
    async (coordinator, { engine }) => {
      engine.pause = never();
      const loading = coordinator.load(await described(), model);
      loading.catch(() => undefined);
      await expect.poll(() => engine.loads).toBe(1);
    },
  ],
  [
    'while another stage waits to be loaded',
    async (coordinator, { engine }) => {
      engine.pause = never();
      coordinator.load(await described(), model).catch(() => undefined);
      await expect.poll(() => engine.loads).toBe(1);
      coordinator.send('loadShard', await described(2));
    },
  ],
  [
    'when stages are ready',
    async (coordinator) => {
      await coordinator.load(await described(1), model);
      await coordinator.load(await described(2), model);
    },
  ],
  [
    'while a stage is linked to one that does not answer',
    async (coordinator) => {
      await coordinator.load(await described(), model);
      let connected: () => void = () => undefined;
      const dialled = new Promise<void>((resolve) => (connected = resolve));
      const port = await serve((socket: net.Socket) => {
        socket.resume();
        connected();
      });
      const next = { host: '127.0.0.1', port, stage: 1, codec: 'f32' };
      coordinator.send('link', {
        stage: 1,
        epoch: 1,
        next: { ...next, transport: 'tcp', rdmaQueue: '' },
      });
      await dialled;
    },
  ],
];

describe('a coordinator that vanishes', () => {
  test.each(phases)('%s leaves a free worker', async (_, reach) => {
    await using worker = await TestWorker.start();
    const coordinator = await worker.connect();
    await reach(coordinator, worker);
    coordinator.vanish();
    await worker.untilFree();
    expect(worker.engine.living).toBe(0);
    expect((await cached(worker)).parts).toEqual([]);
    worker.engine.pause = Promise.resolve();
    const next = await worker.connect();
    await next.load(await described(), model);
    expect(worker.engine.living).toBe(1);
  });

  test('leaves a free worker when its end goes wrong', async () => {
    await using worker = await TestWorker.start();
    const coordinator = await worker.connect();
    const { engine } = worker;
    const load = engine.load.bind(engine);
    engine.load = async (options) => {
      const stage = await load(options);
      return Object.assign(stage, {
        dispose: () => {
          throw new Error('cannot be freed');
        },
      });
    };
    await coordinator.load(await described(1), model);
    engine.load = load;
    await coordinator.load(await described(2), model);
    coordinator.vanish();
    await worker.untilFree();
    // The other stage was freed all the same.
    expect(engine.living).toBe(1);
    expect(worker.log).toContain('stage 1 ended with an error');
  });

  test('leaves a free worker when the cache is gone', async () => {
    await using worker = await TestWorker.start();
    const coordinator = await worker.connect();
    const { connection, names } = await sending(coordinator);
    await sendTensor(connection, model, names[0] ?? '');
    await rm(worker.cacheDirectory, { recursive: true, force: true });
    coordinator.vanish();
    await worker.untilFree();
    const next = await worker.connect();
    await next.load(await described(), model);
  });

  test('cannot keep others out by a connection that stays', async () => {
    await using worker = await TestWorker.start({ model });
    const coordinator = await worker.connect();
    await coordinator.load(loadShardMessage(model, whole), model);
    const tensor = await connectAs(worker.port, { role: 'tensor', stage: 1, codec: 'f32' });
    coordinator.vanish();
    await worker.untilFree();
    expect((await tensor.connection.closed).message).toMatch(/the coordinator is gone/);
  });
});
