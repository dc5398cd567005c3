import { readdir } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { passingSecret } from '../../app/cluster-secret.js';
import { SpawnedWorkers } from '../../app/spawn.js';
import { Coordinator } from '../../coord/coordinator.js';
import { causalSegment } from '../../coord/segments.js';
import type { CoordinatorOptions } from '../../coord/coordinator-options.js';
import { openGgmlEngine } from '../../engine/ggml/ggml-engine.js';
import { openGguf } from '../../model/gguf/reader.js';
import type { TensorSource } from '../../model/tensor-source.js';
import { Turns } from '../../stage/turns.js';
import { greedy } from '../../step/sampling.js';
import type { Segment } from '../../step/step.js';
import { dial } from '../../transport/protocol/peers.js';
import { complete, openTestCluster, silent } from '../support/cluster.js';
import { openTestEngine } from '../support/engines.js';
import { clearTokens, goldenCases, repositoryPath } from '../support/golden.js';

const [golden] = goldenCases('demo-q8_0.json');
if (!golden) throw new Error('no golden case');
const { promptTokens } = golden;
const expected = clearTokens(golden);

const shared = passingSecret();
const sources: TensorSource[] = [];
afterEach(async () => {
  for (const source of sources.splice(0)) await source.close();
});

/** Opens a coordinator with the demo model on workers that run already. */
async function openOn(
  workers: SpawnedWorkers,
  layers: readonly number[],
  options: Partial<CoordinatorOptions> = {},
): Promise<Coordinator> {
  const source = await openGguf(repositoryPath('models/demo.gguf'));
  sources.push(source);
  return Coordinator.open({
    source,
    engine: openGgmlEngine({ device: 'cpu', threads: 1 }),
    turns: new Turns(),
    workers: workers.addresses,
    layers,
    context: 512,
    kvType: 'f16',
    calibrationText: () => new Int32Array(0),
    codec: 'f32',
    chunkTokens: 512,
    cacheDirectory: '/nonexistent',
    softwareVersion: 'test',
    secret: shared.secret,
    logger: silent,
    ...options,
  });
}

function workerPort(workers: SpawnedWorkers): number {
  return workers.addresses[0]?.port ?? 0;
}

const startHolding = (model: string) =>
  SpawnedWorkers.start(
    1,
    { model: repositoryPath(`models/${model}`), threads: 1 },
    [],
    shared.text,
  );

describe('a shard that the coordinator sends', () => {
  test('computes the same, and is kept for the next time', async () => {
    const options = { layers: [13, 3], workersHoldModel: false };
    await using cluster = await openTestCluster(options);
    const { tokens } = await complete(
      cluster.coordinator.conversation(),
      promptTokens,
      expected.length,
    );
    expect(tokens).toEqual(expected);
    const kept = await readdir(path.join(cluster.cacheDirectory, 'tensors'));
    // 3 layers of 11 tensors, the norm, and the head.
    expect(kept.filter((name) => !name.endsWith('.part'))).toHaveLength(35);

    await cluster.coordinator.close();
    let sentBytes = 0;
    await using again = await openTestCluster({
      ...options,
      cacheDirectory: cluster.cacheDirectory,
      onProgress: ({ stage, loadedBytes, totalBytes }) => {
        if (stage !== 'coordinator') sentBytes = Math.max(sentBytes, totalBytes - loadedBytes);
      },
    });
    const second = await complete(again.coordinator.conversation(), promptTokens, expected.length);
    expect(second.tokens).toEqual(expected);
    expect(await readdir(path.join(cluster.cacheDirectory, 'tensors'))).toHaveLength(35);
  });
});

test('a shard from the middle of a model can be sent, too', async () => {
  await using cluster = await openTestCluster({ layers: [5, 6, 5], workersHoldModel: false });
  const { tokens } = await complete(
    cluster.coordinator.conversation(),
    promptTokens,
    expected.length,
  );
  expect(tokens).toEqual(expected);
});

test('a coordinator that cannot calibrate gives its workers back', async () => {
  await using workers = await startHolding('demo.gguf');
  const calibrationText = () => {
    throw new Error('no tokenizer');
  };
  const failing = openOn(workers, [8, 8], {
    engine: openTestEngine('onnx'),
    kvType: 'q8_0',
    calibrationText,
  });
  await expect(failing).rejects.toThrow('no tokenizer');
  await expect
    .poll(async () => {
      const coordinator = await openOn(workers, [8, 8]);
      await coordinator.close();
      return 'free';
    })
    .toBe('free');
});

describe('a lost worker', () => {
  test('fails the answer with one line that names it', async () => {
    await using cluster = await openTestCluster({ layers: [8, 4, 4] });
    const [, second] = cluster.workers.addresses;
    const conversation = cluster.coordinator.conversation();
    const generation = conversation.generate(Int32Array.from(promptTokens), {
      sampling: greedy,
      maxTokens: 400,
      isEnd: () => false,
    });
    const received: number[] = [];
    const answer = (async () => {
      for await (const token of generation) {
        received.push(token);
        if (received.length === 10) cluster.workers.kill(1);
      }
    })();
    await expect(answer).rejects.toThrow(
      new RegExp(`^lost worker ${second?.host}:${second?.port}: .*$`),
    );
    expect(received.slice(0, 10)).toEqual(expected.slice(0, 10));
    expect((await cluster.coordinator.failure).code).toBe('worker-lost');
  });
});

describe('a worker', () => {
  test('refuses a coordinator with another model', async () => {
    await using workers = await startHolding('demo-q4_0.gguf');
    await expect(openOn(workers, [13, 3])).rejects.toThrow(
      /^worker .* holds another model: .*--model/,
    );
  });

  test('is busy while another coordinator uses it, and free afterwards', async () => {
    await using workers = await startHolding('demo.gguf');
    const first = await openOn(workers, [13, 3]);
    await expect(openOn(workers, [13, 3])).rejects.toThrow(/is busy with another coordinator/);
    await first.close();
    await expect
      .poll(async () => {
        const second = await openOn(workers, [8, 8]);
        const { tokens } = await complete(second.conversation(), promptTokens, expected.length);
        await second.close();
        return tokens;
      })
      .toEqual(expected);
  });

  test('survives garbage and serves the next coordinator', async () => {
    await using workers = await startHolding('demo.gguf');
    for (const garbage of [
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.alloc(100_000, 0xff),
      Buffer.from([0, 0, 0, 0, 0, 0]),
      Buffer.from([20, 0, 0, 0, 18, 0, ...new Array<number>(18).fill(0x41)]),
    ]) {
      const socket = net.connect({ host: '127.0.0.1', port: workerPort(workers) });
      socket.on('error', () => undefined).resume();
      socket.end(garbage);
      await new Promise((resolve) => socket.once('close', resolve));
    }
    await using coordinator = await openOn(workers, [13, 3]);
    const { tokens } = await complete(coordinator.conversation(), promptTokens, expected.length);
    expect(tokens).toEqual(expected);
  });

  test('survives steps that make no sense', async () => {
    await using cluster = await openTestCluster({ layers: [0, 16] });
    const { coordinator } = cluster;
    const segment = causalSegment({
      sequence: 1,
      text: Int32Array.of(5),
      first: 0,
      count: 1,
      cells: { start: 0, length: 512 },
      choices: 'all',
      sampling: greedy,
    });
    const { visible } = segment;
    const wrong: Partial<Segment>[] = [
      { tokens: Int32Array.of(5000) },
      { cells: Int32Array.of(600) },
      { visible: { ...visible, windowLength: 5000 } },
      { visible: { ...visible, ranges: Int32Array.of(0, 300) } },
      { positions: Int32Array.of(-4) },
    ];
    for (const change of wrong)
      await expect(coordinator.step([{ ...segment, ...change }])).rejects.toThrow(/makes no sense/);
    expect(await coordinator.step([segment])).toHaveLength(1);
  });

  test('is told from another program, another version and nothing at all', async () => {
    const hello = { role: 'control' as const, session: 's', softwareVersion: 'test', name: 'test' };
    const other = net.createServer((socket) => socket.resume().end('SSH-2.0-OpenSSH_9.2\r\n'));
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as net.AddressInfo;
    await expect(dial({ host: '127.0.0.1', port, hello })).rejects.toThrow(
      /does not speak the protocol of daisychain/,
    );
    await new Promise((resolve) => other.close(resolve));
    await expect(dial({ host: '127.0.0.1', port, hello })).rejects.toThrow(
      /cannot reach worker 127.0.0.1:\d+: connection refused. Is "daisychain worker" running there\?/,
    );
  });
});

describe('the plan', () => {
  test('must add up', async () => {
    await using workers = await startHolding('demo.gguf');
    await expect(openOn(workers, [13, 4])).rejects.toThrow(/adds up to 17, but the model has 16/);
  });

  test('must fit the memory, which is said before loading', async () => {
    await using workers = await startHolding('demo.gguf');
    const opening = openOn(workers, [8, 8], { context: 100_000_000, chunkTokens: 16 });
    await expect(opening).rejects.toThrow(
      /not enough memory for 8 layers on coordinator.* needs \d+ MB .*KV cache \d+.* \d+ MB are free/,
    );
  });
});
