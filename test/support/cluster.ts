import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { silent } from './silent.js';
import { passingSecret, type SharedSecret } from '../../app/cluster-secret.js';
import { SpawnedWorkers } from '../../app/spawn.js';
import { Coordinator } from '../../coord/coordinator.js';
import type { CoordinatorOptions } from '../../coord/coordinator-options.js';
import type { Conversation } from '../../coord/conversation.js';
import type { GenerateOptions, GenerationSummary } from '../../coord/generation.js';
import type { EngineName } from '../../engine/engine.js';
import { greedy, type Sampling } from '../../step/sampling.js';
import { Turns } from '../../stage/turns.js';
import type { ProviderName } from '../../engine/onnx/providers.js';
import { openGguf } from '../../model/gguf/reader.js';
import { testCalibrationText } from './calibration.js';
import { openTestEngine } from './engines.js';
import { repositoryPath } from './golden.js';

export { silent };

/** A coordinator in this process, and its workers in processes of their own. */
export interface TestCluster extends AsyncDisposable {
  readonly coordinator: Coordinator;
  readonly workers: SpawnedWorkers;
  readonly cacheDirectory: string;
}

export interface TestClusterOptions extends Partial<Omit<CoordinatorOptions, 'engine'>> {
  /** The coordinator's; default ggml. */
  readonly engine?: EngineName;
  /** Default: the coordinator's. */
  readonly workerEngine?: EngineName;
  readonly workerProvider?: ProviderName;
  /** Its file, in the folder of models unless the path is absolute. */
  readonly model?: string;
  readonly layers: readonly number[];
  /** Whether workers read the model file themselves; otherwise they are sent their shards. */
  readonly workersHoldModel?: boolean;
  /** Default: one of its own. */
  readonly shared?: SharedSecret;
}

export async function openTestCluster(options: TestClusterOptions): Promise<TestCluster> {
  const { model = 'demo.gguf', layers, workersHoldModel = true, engine = 'ggml' } = options;
  const shared = options.shared ?? passingSecret();
  const workerEngine = options.workerEngine ?? engine;
  const file = path.resolve(repositoryPath('models'), model);
  const cacheDirectory =
    options.cacheDirectory ?? (await mkdtemp(path.join(os.tmpdir(), 'daisychain-')));
  const settings = {
    threads: 1,
    logLevel: 'error' as const,
    cacheDir: cacheDirectory,
    engine: workerEngine,
    ...(workerEngine === 'onnx' ? { requantize: true } : {}),
    ...(options.workerProvider ? { provider: options.workerProvider } : {}),
    ...(workersHoldModel ? { model: file } : {}),
  };
  const workers = await SpawnedWorkers.start(layers.length - 1, settings, [], shared.text);
  const source = await openGguf(file);
  const close = async () => {
    await source.close();
    await workers.end();
    await rm(cacheDirectory, { recursive: true, force: true });
  };
  try {
    const coordinator = await Coordinator.open({
      source,
      turns: new Turns(),
      workers: workers.addresses,
      context: 512,
      kvType: 'f16',
      calibrationText: () => testCalibrationText(source),
      codec: 'f32',
      chunkTokens: 512,
      softwareVersion: 'test',
      secret: shared.secret,
      logger: silent,
      ...options,
      engine: openTestEngine(engine),
      cacheDirectory,
    });
    return {
      coordinator,
      workers,
      cacheDirectory,
      [Symbol.asyncDispose]: async () => {
        await coordinator.close();
        await close();
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Runs a generation to its end. */
export async function complete(
  conversation: Conversation,
  prompt: readonly number[],
  maxTokens: number,
  sampling: Sampling = greedy,
  signal?: AbortSignal,
  options: Pick<GenerateOptions, 'speculate' | 'priority' | 'client'> = {},
): Promise<{ tokens: number[]; summary: GenerationSummary }> {
  const generation = conversation.generate(Int32Array.from(prompt), {
    sampling,
    maxTokens,
    isEnd: () => false,
    ...(signal ? { signal } : {}),
    ...options,
  });
  const tokens: number[] = [];
  for (;;) {
    const { value, done } = await generation.next();
    if (done) return { tokens, summary: value };
    tokens.push(value);
  }
}
