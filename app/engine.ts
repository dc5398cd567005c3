import type { Logger } from 'pino';
import type { Engine } from '../engine/engine.js';
import { openGgmlEngine } from '../engine/ggml/ggml-engine.js';
import { openOnnxEngine } from '../engine/onnx/onnx-engine.js';
import { usableCores } from './cores.js';
import { cacheDirectory } from './directories.js';
import { UsageError } from './errors.js';
import type { Settings } from './settings/settings.js';

/**
 * The engine that the settings ask for.
 * @param logger is told what the engine puts right by itself
 * @throws UsageError, ModelError, EngineError
 */
export function openEngine(
  settings: Pick<
    Settings,
    'engine' | 'device' | 'provider' | 'requantize' | 'threads' | 'cacheDir'
  >,
  logger?: Pick<Logger, 'warn'>,
): Engine {
  const { device, provider, requantize, cacheDir } = settings;
  const threads = settings.threads ?? usableCores();
  if (settings.engine !== 'onnx') {
    if (provider ?? requantize)
      throw new UsageError(
        'combination',
        `--${provider ? 'provider' : 'requantize'} needs --engine onnx`,
      );
    return openGgmlEngine({ device: device ?? 'auto', threads });
  }
  if (device !== undefined && device !== 'auto')
    throw new UsageError('combination', '--device is for --engine ggml: give --provider instead');
  return openOnnxEngine({
    provider: provider ?? 'cpu',
    threads,
    cacheDirectory: cacheDir ?? cacheDirectory(),
    requantize: requantize ?? false,
    warn: (message) => logger?.warn(message),
  });
}
