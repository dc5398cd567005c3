import type { Logger } from 'pino';
import type { CoordinatorOptions } from '../coord/coordinator-options.js';
import { Coordinator } from '../coord/coordinator.js';
import { calibrationText } from '../coord/kv-calibration.js';
import type { WorkerAddress } from '../coord/remote-worker.js';
import { randomTokens } from '../model/random-tokens.js';
import { Closers } from './closers.js';
import { clusterSecret, passingSecret, type SharedSecret } from './cluster-secret.js';
import { cacheDirectory } from './directories.js';
import { loadTokenizer } from './model.js';
import { version } from './package.js';
import type { Prepared } from './prepare.js';
import { channelFrom } from './settings/choices.js';
import type { Settings } from './settings/settings.js';
import { SpawnedWorkers, spawnCount } from './spawn.js';
import { planSpeculation } from './speculation.js';

const defaultChunk = 512;
const defaultCodec = 'auto';

/** Tokens of random text that a model without a tokenizer is calibrated with. */
const calibrationTokens = 256;

/** A model, loaded on all its stages. */
export interface Cluster extends AsyncDisposable {
  readonly coordinator: Coordinator;
  /** Tokens that a conversation may have. */
  readonly context: number;
}

/** What whoever opens a cluster needs beyond its settings. */
export interface ClusterNeeds extends Pick<
  CoordinatorOptions,
  'onPlan' | 'onProgress' | 'onCalibration' | 'countsRoutings'
> {
  /** Conversations at once; default 1. */
  readonly conversations?: number;
  /** See `DraftNeeds`. */
  readonly recording?: readonly number[];
}

/**
 * Starts workers if the settings say so, and has all stages loaded. What was begun is undone when something fails.
 * @throws UsageError, ModelError, EngineError, TransportError, CoordinatorError, SpawnError
 */
export async function openCluster(
  prepared: Prepared,
  logger: Logger,
  { conversations = 1, recording, ...listeners }: ClusterNeeds = {},
): Promise<Cluster> {
  const { settings, engine, turns, source, sizes } = prepared;
  const closers = new Closers();
  try {
    const shared = sharedSecret(settings, logger);
    const workers = await findWorkers(prepared, closers, shared?.text);
    const { context } = settings;
    if (context !== undefined && context > sizes.contextLength)
      logger.warn(`the model was trained for ${sizes.contextLength} tokens, not for ${context}`);
    const codec = settings.codec ?? [defaultCodec];
    const needs = {
      context: context ?? sizes.contextLength,
      conversations,
      ...(recording ? { recording } : {}),
    };
    const speculation = await planSpeculation(prepared, needs, closers, logger);
    const coordinator = await Coordinator.open({
      source,
      engine,
      turns,
      workers,
      ...(settings.layers ? { layers: settings.layers } : {}),
      ...(context === undefined ? {} : { context }),
      conversations,
      kvType: settings.kvType ?? 'f16',
      calibrationText: () => readable(prepared),
      codec: codec.length === 1 ? (codec[0] ?? defaultCodec) : codec,
      chunkTokens: settings.chunk ?? defaultChunk,
      measuresCosts: true,
      channel: channelFrom(settings),
      ...(speculation
        ? { speculation: speculation.open, reservedBytes: speculation.memoryBytes }
        : {}),
      cacheDirectory: settings.cacheDir ?? cacheDirectory(),
      kvDisk: settings.kvDisk,
      softwareVersion: version,
      ...(shared ? { secret: shared.secret } : {}),
      logger,
      ...listeners,
    });
    closers.add(() => coordinator.close());
    return {
      coordinator,
      context: coordinator.context,
      [Symbol.asyncDispose]: () => closers.close(),
    };
  } catch (error) {
    await closers.close();
    throw error;
  }
}

/** Something for the model to read. */
function readable({ settings, source, sizes }: Prepared): Int32Array {
  if (settings.synthetic) return randomTokens(calibrationTokens, sizes.vocabulary);
  using tokenizer = loadTokenizer(settings);
  return calibrationText(source, tokenizer);
}

/** Workers that we start get a secret of their own; those that run already share the cluster's. */
function sharedSecret(settings: Settings, logger: Logger): SharedSecret | undefined {
  if (!settings.spawn && !settings.workers?.length) return undefined;
  return settings.spawn && !settings.insecure ? passingSecret() : clusterSecret(settings, logger);
}

async function findWorkers(
  { settings, workerCores }: Prepared,
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
