import type { Logger } from 'pino';
import { Coordinator } from '../coord/coordinator.js';
import type { WorkerAddress } from '../coord/remote-worker.js';
import { openGgmlEngine } from '../engine/ggml/ggml-engine.js';
import type { Engine } from '../engine/engine.js';
import { architectureOf } from '../model/architectures/registry.js';
import type { Hyperparameters } from '../model/architectures/hyperparameters.js';
import type { TensorSource } from '../model/tensor-source.js';
import { Closers } from './closers.js';
import { usableCores } from './cores.js';
import { cacheDirectory } from './directories.js';
import { UsageError } from './errors.js';
import { openModel } from './open-model.js';
import { bindToCore, chooseCores } from './pin.js';
import { LoadProgress } from './progress.js';
import type { Settings } from './settings.js';
import { SpawnedWorkers, spawnCount } from './spawn.js';
import { version } from './version.js';

const defaultContext = 8192;
const defaultChunk = 512;

/** A model, loaded on all its stages. */
export interface Cluster extends AsyncDisposable {
  readonly source: TensorSource;
  readonly sizes: Hyperparameters;
  readonly engine: Engine;
  readonly coordinator: Coordinator;
  /** Tokens that a conversation may have. */
  readonly context: number;
  readonly codec: NonNullable<Settings['codec']>;
  readonly kvType: NonNullable<Settings['kvType']>;
  close(): Promise<void>;
}

/**
 * Opens the model and the engine, starts workers if the settings say so, and has all stages loaded. What was begun is
 * undone when something fails.
 * @throws UsageError, ModelError, EngineError, TransportError, CoordinatorError, SpawnError
 */
export async function openCluster(given: Settings, logger: Logger): Promise<Cluster> {
  const settings = withThreads(given);
  const closers = new Closers();
  try {
    const [ownCore, ...workerCores] = settings.pin
      ? chooseCores(processCount(settings), logger)
      : [];
    if (ownCore !== undefined) bindToCore(ownCore, logger);
    const source = await requireModel(settings);
    closers.add(() => source.close());
    const sizes = architectureOf(source).hyperparameters(source);
    const workers = await findWorkers(settings, workerCores, closers);
    const engine = openEngine(settings);
    const context = settings.context ?? Math.min(sizes.contextLength, defaultContext);
    if (context > sizes.contextLength)
      logger.warn(`the model was trained for ${sizes.contextLength} tokens, not for ${context}`);
    const codec = settings.codec ?? 'f32';
    const kvType = settings.kvType ?? 'f16';
    using progress = new LoadProgress();
    const coordinator = await Coordinator.open({
      source,
      engine,
      workers,
      ...(settings.layers ? { layers: settings.layers } : {}),
      context,
      kvType,
      codec,
      chunkTokens: settings.chunk ?? defaultChunk,
      cacheDirectory: settings.cacheDir ?? cacheDirectory(),
      softwareVersion: version,
      logger,
      onProgress: (event) => progress.update(event),
    });
    closers.add(() => coordinator.close());
    const close = () => closers.close();
    const facts = { source, sizes, engine, coordinator, context, codec, kvType };
    return { ...facts, close, [Symbol.asyncDispose]: close };
  } catch (error) {
    await closers.close();
    throw error;
  }
}

/** The engine that the settings ask for. @throws ModelError, EngineError */
export function openEngine({ device, threads }: Pick<Settings, 'device' | 'threads'>): Engine {
  return openGgmlEngine({ device: device ?? 'auto', threads: threads ?? usableCores() });
}

/** Processes on one machine share its cores; a process that is bound to a core has just that. */
export function withThreads(settings: Settings): Settings {
  if (settings.threads !== undefined) return settings;
  const share = Math.floor(usableCores() / processCount(settings));
  const threads = settings.pin ? 1 : Math.max(1, share);
  return { ...settings, threads };
}

/** Processes that we are and start. */
function processCount(settings: Settings): number {
  return settings.spawn ? spawnCount(settings) + 1 : 1;
}

async function requireModel(settings: Settings): Promise<TensorSource> {
  const source = await openModel(settings);
  if (!source)
    throw new UsageError('no model: give --model FILE, or a --config file that names one');
  return source;
}

async function findWorkers(
  settings: Settings,
  cores: readonly number[],
  closers: Closers,
): Promise<readonly WorkerAddress[]> {
  if (!settings.spawn) return settings.workers ?? [];
  const spawned = await SpawnedWorkers.start(spawnCount(settings), settings, cores);
  closers.add(() => spawned.end());
  return spawned.addresses;
}
