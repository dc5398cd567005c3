import type { Logger } from 'pino';
import type { Engine } from '../engine/engine.js';
import type { ModelSizes } from '../model/architectures/model.js';
import { checkModel } from '../model/architectures/check-model.js';
import { modelTotals, type ModelTotals } from '../model/architectures/totals.js';
import type { TensorSource } from '../model/tensor-source.js';
import { Turns } from '../stage/turns.js';
import { usableCores } from './cores.js';
import { openEngine } from './engine.js';
import { UsageError } from './errors.js';
import { namesModel, noModel, openModel } from './model.js';
import { bindToCore, chooseCores } from './pin.js';
import type { Settings } from './settings/settings.js';
import { spawnCount } from './spawn.js';

/** What a coordinator's process has before workers are started and stages loaded: an engine and an open model. */
export interface Prepared extends AsyncDisposable {
  /** The given ones, with the number of threads decided. */
  readonly settings: Settings;
  readonly engine: Engine;
  /** In which all that computes in this process uses the engine's device. */
  readonly turns: Turns;
  readonly source: TensorSource;
  readonly sizes: ModelSizes;
  readonly totals: ModelTotals;
  /** Cores for the workers that we start; empty leaves them free. */
  readonly workerCores: readonly number[];
}

/**
 * Opens the engine and the model. The engine comes first: threads are born on the core that this process is bound to,
 * and the tokenizer uses whichever build of ggml the engine has loaded.
 * @throws UsageError, ModelError, EngineError
 */
export async function prepare(given: Settings, logger: Logger): Promise<Prepared> {
  if (!namesModel(given)) throw noModel();
  const processes = processCount(given);
  const settings = withThreads(given, processes);
  const [ownCore, ...workerCores] = settings.pin ? chooseCores(processes, logger) : [];
  if (ownCore !== undefined) bindToCore(ownCore, logger);
  const engine = openEngine(settings, logger);
  const source = await openModel(settings);
  try {
    const model = checkModel(source);
    return {
      settings,
      engine,
      turns: new Turns(),
      source,
      sizes: model.sizes,
      totals: modelTotals(model, source.tensors),
      workerCores,
      [Symbol.asyncDispose]: () => source.close(),
    };
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** Processes that we are and start. @throws UsageError when the split needs workers and there are none */
function processCount(settings: Settings): number {
  const { layers, spawn, workers } = settings;
  if (spawn) return spawnCount(settings) + 1;
  if (layers && layers.length > 1 && !workers)
    throw new UsageError(
      'combination',
      `--layers ${layers.join(',')} is for ${layers.length} stages: add --spawn or --worker HOST:PORT`,
    );
  return 1;
}

/** Processes on one machine share its cores; one that is bound to a core has just that. */
function withThreads(settings: Settings, processes: number): Settings {
  const share = Math.max(1, Math.floor(usableCores() / processes));
  return { ...settings, threads: settings.threads ?? (settings.pin ? 1 : share) };
}
