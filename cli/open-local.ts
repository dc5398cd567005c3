import type { Logger } from 'pino';
import type { Engine } from '../engine/engine.js';
import { openGgmlEngine } from '../engine/ggml/ggml-engine.js';
import { openOnnxEngine } from '../engine/onnx/onnx-engine.js';
import { architectureOf } from '../model/architectures/registry.js';
import type { Hyperparameters } from '../model/architectures/hyperparameters.js';
import type { TensorSource } from '../model/tensor-source.js';
import { usableCores } from './cores.js';
import { cacheDirectory } from './directories.js';
import { UsageError } from './errors.js';
import { openModel } from './open-model.js';
import { bindToCore, chooseCores } from './pin.js';
import type { Settings } from './settings.js';
import { spawnCount } from './spawn.js';

/** What this process has of a cluster before anything is loaded. */
export interface Local extends AsyncDisposable {
  /** The given ones, with the number of threads decided. */
  readonly settings: Settings;
  readonly engine: Engine;
  readonly source: TensorSource;
  readonly sizes: Hyperparameters;
  /** Cores for the workers that we start; empty leaves them free. */
  readonly workerCores: readonly number[];
}

/**
 * Opens the engine and the model. The engine comes first: threads are born on the core that this process is bound to,
 * and the tokenizer uses whichever build of ggml the engine has loaded.
 * @throws UsageError, ModelError, EngineError
 */
export async function openLocal(given: Settings, logger: Logger): Promise<Local> {
  checkModelGiven(given);
  const processes = processCount(given);
  const settings = withThreads(given, processes);
  const [ownCore, ...workerCores] = settings.pin ? chooseCores(processes, logger) : [];
  if (ownCore !== undefined) bindToCore(ownCore, logger);
  const engine = openEngine(settings);
  const source = (await openModel(settings)) as TensorSource;
  try {
    const sizes = architectureOf(source).hyperparameters(source);
    const close = () => source.close();
    return { settings, engine, source, sizes, workerCores, [Symbol.asyncDispose]: close };
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** The engine that the settings ask for. @throws UsageError, ModelError, EngineError */
export function openEngine(
  settings: Pick<
    Settings,
    'engine' | 'device' | 'provider' | 'requantize' | 'threads' | 'cacheDir'
  >,
): Engine {
  const { device, provider, requantize, cacheDir } = settings;
  const threads = settings.threads ?? usableCores();
  if (settings.engine !== 'onnx') {
    if (provider ?? requantize)
      throw new UsageError(`--${provider ? 'provider' : 'requantize'} needs --engine onnx`);
    return openGgmlEngine({ device: device ?? 'auto', threads });
  }
  if (device !== undefined && device !== 'auto')
    throw new UsageError('--device is for --engine ggml: give --provider instead');
  return openOnnxEngine({
    provider: provider ?? 'cpu',
    threads,
    cacheDirectory: cacheDir ?? cacheDirectory(),
    requantize: requantize ?? false,
  });
}

/** Processes that we are and start. @throws UsageError when the split needs workers and there are none */
function processCount(settings: Settings): number {
  const { layers, spawn, workers } = settings;
  if (spawn) return spawnCount(settings) + 1;
  if (layers && layers.length > 1 && !workers)
    throw new UsageError(
      `--layers ${layers.join(',')} is for ${layers.length} stages: add --spawn or --worker HOST:PORT`,
    );
  return 1;
}

/** Processes on one machine share its cores; one that is bound to a core has just that. */
function withThreads(settings: Settings, processes: number): Settings {
  const share = Math.max(1, Math.floor(usableCores() / processes));
  return { ...settings, threads: settings.threads ?? (settings.pin ? 1 : share) };
}

function checkModelGiven({ model, synthetic }: Settings): void {
  if (model === undefined && synthetic === undefined)
    throw new UsageError('no model: give --model FILE, or a --config file that names one');
}
