import { randomTokens } from '../../model/random-tokens.js';
import { calibrationText } from '../../coord/kv-calibration.js';
import { readModelSizes } from '../../model/architectures/model.js';
import type { TensorSource } from '../../model/tensor-source.js';
import { Tokenizer } from '../../model/tokenizer.js';
import { repositoryPath } from './golden.js';

/** What a command calibrates a model with: the demo model, or one without a tokenizer. */
export function testCalibrationText(source: TensorSource): Int32Array {
  const { vocabulary } = readModelSizes(source);
  if (!source.metadata.has('tokenizer.ggml.tokens')) return randomTokens(256, vocabulary);
  using tokenizer = Tokenizer.load(repositoryPath('models/demo.gguf'));
  return calibrationText(source, tokenizer);
}
