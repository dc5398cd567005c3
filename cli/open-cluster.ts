import type { Logger } from 'pino';
import { randomTokens } from '../bench/benchmark.js';
import { calibrationText } from '../coord/calibration-text.js';
import { Coordinator } from '../coord/coordinator.js';
import type { WorkerAddress } from '../coord/remote-worker.js';
import { channelFrom } from './channel.js';
import { clusterSecret, passingSecret, type SharedSecret } from './cluster-secret.js';
import { Closers } from './closers.js';
import { cacheDirectory } from './directories.js';
import { openSpeculation } from './drafts.js';
import { loadTokenizer } from './load-tokenizer.js';
import type { Local } from './open-local.js';
import { LoadProgress } from './progress.js';
import type { Settings } from './settings.js';
import { SpawnedWorkers, spawnCount } from './spawn.js';
import { version } from './version.js';

const defaultContext = 8192;
const defaultChunk = 512;
const defaultCodec = 'fp8';

/** A model, loaded on all its stages. */
export interface Cluster extends AsyncDisposable {
  readonly coordinator: Coordinator;
  /** Tokens that a conversation may have. */
  readonly context: number;
  /** Names of the links' codecs. */
  readonly codec: string;
}

/** What a command needs beyond its settings. */
export interface ClusterNeeds {
  /** Conversations at once; default 1. */
  readonly conversations?: number;
  /** See `DraftNeeds`. */
  readonly recording?: readonly number[];
}

/**
 * Starts workers if the settings say so, and has all stages loaded. What was begun is undone when something fails.
 * @throws EngineError, TransportError, CoordinatorError, SpawnError
 */
export async function openCluster(
  local: Local,
  logger: Logger,
  { conversations = 1, recording }: ClusterNeeds = {},
): Promise<Cluster> {
  const { settings, engine, source, sizes } = local;
  const closers = new Closers();
  try {
    const shared = sharedSecret(settings, logger);
    const workers = await findWorkers(local, closers, shared?.text);
    const context = settings.context ?? Math.min(sizes.contextLength, defaultContext);
    if (context > sizes.contextLength)
      logger.warn(`the model was trained for ${sizes.contextLength} tokens, not for ${context}`);
    const codec = settings.codec ?? [defaultCodec];
    const cells = context * conversations;
    const needs = { cells, ...(recording ? { recording } : {}) };
    const speculation = await openSpeculation(local, needs, closers, logger);
    using progress = new LoadProgress();
    const coordinator = await Coordinator.open({
      source,
      engine,
      workers,
      ...(settings.layers ? { layers: settings.layers } : {}),
      context,
      conversations,
      kvType: settings.kvType ?? 'f16',
      calibrationText: () => readable(local),
      codec: codec.length === 1 ? (codec[0] ?? defaultCodec) : codec,
      chunkTokens: settings.chunk ?? defaultChunk,
      channel: channelFrom(settings),
      ...(speculation ? { speculation } : {}),
      cacheDirectory: settings.cacheDir ?? cacheDirectory(),
      softwareVersion: version,
      ...(shared ? { secret: shared.secret } : {}),
      logger,
      onProgress: (event) => progress.update(event),
      onCalibration: (tokens, total) => progress.calibrated(tokens, total),
    });
    closers.add(() => coordinator.close());
    return {
      coordinator,
      context,
      codec: codec.join(','),
      [Symbol.asyncDispose]: () => closers.close(),
    };
  } catch (error) {
    await closers.close();
    throw error;
  }
}

/** Something for the model to read. */
function readable({ settings, source, sizes }: Local): Int32Array {
  if (settings.synthetic) return randomTokens(256, sizes.vocabulary);
  using tokenizer = loadTokenizer(settings);
  return calibrationText(source, tokenizer);
}

/** Workers that we start get a secret of their own; those that run already share the cluster's. */
function sharedSecret(settings: Settings, logger: Logger): SharedSecret | undefined {
  if (!settings.spawn && !settings.workers?.length) return undefined;
  return settings.spawn && !settings.insecure ? passingSecret() : clusterSecret(settings, logger);
}

async function findWorkers(
  { settings, workerCores }: Local,
  closers: Closers,
  secretText: string | undefined,
): Promise<readonly WorkerAddress[]> {
  if (!settings.spawn) return settings.workers ?? [];
  const spawned = await SpawnedWorkers.start(
    spawnCount(settings),
    settings,
    workerCores,
    secretText,
  );
  closers.add(() => spawned.end());
  return spawned.addresses;
}
