import { Tokenizer } from '../model/tokenizer.js';
import { UsageError } from './errors.js';
import type { Settings } from './settings.js';

/**
 * The tokenizer of the model file that the settings name.
 * @throws UsageError when they name none, ModelError when the file has no tokenizer
 */
export function loadTokenizer({ model, synthetic }: Settings): Tokenizer {
  if (synthetic) throw new UsageError('a synthetic model has no tokenizer: use it with bench');
  return Tokenizer.load(model ?? '');
}
