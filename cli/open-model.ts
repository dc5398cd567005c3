import { openGguf } from '../model/gguf/reader.js';
import { syntheticModel } from '../model/synthetic.js';
import type { TensorSource } from '../model/tensor-source.js';
import type { Settings } from './settings.js';

/**
 * The model that the settings name, a file or random weights; undefined when they name none.
 * @throws ModelError
 */
export async function openModel(
  settings: Pick<Settings, 'model' | 'synthetic' | 'type'>,
): Promise<TensorSource | undefined> {
  if (settings.synthetic) return syntheticModel(settings.synthetic, settings.type ?? 'q4_0');
  return settings.model === undefined ? undefined : openGguf(settings.model);
}
