import { openGguf } from '../model/gguf/reader.js';
import { syntheticModel } from '../model/synthetic/synthetic-model.js';
import { syntheticShape } from '../model/synthetic/shapes.js';
import type { TensorSource } from '../model/tensor-source.js';
import { Tokenizer } from '../model/tokenizer.js';
import { UsageError } from './errors.js';
import type { Settings } from './settings/settings.js';

/** Whether the settings name a model, a file or the shape of a synthetic one. */
export function namesModel({ model, synthetic }: Settings): boolean {
  return model !== undefined || synthetic !== undefined;
}

/** The model that the settings name. @throws ModelError, and UsageError when they name none */
export async function openModel(settings: Settings): Promise<TensorSource> {
  const { model, synthetic, syntheticLayers, type } = settings;
  if (synthetic) return syntheticModel(syntheticShape(synthetic, syntheticLayers), type ?? 'q4_0');
  if (model === undefined) throw noModel();
  return openGguf(model);
}

/**
 * The tokenizer of the model file that the settings name.
 * @throws UsageError when they name none, ModelError when the file has no tokenizer
 */
export function loadTokenizer({ model, synthetic }: Settings): Tokenizer {
  if (synthetic)
    throw new UsageError('combination', 'a synthetic model has no tokenizer: use it with bench');
  if (model === undefined) throw noModel();
  return Tokenizer.load(model);
}

export function noModel(): UsageError {
  return new UsageError(
    'setting',
    'no model: give --model FILE, or a --config file that names one',
  );
}
