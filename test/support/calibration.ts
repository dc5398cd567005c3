import { calibrationText } from '../../cli/calibration-text.js';
import { architectureOf } from '../../model/architectures/registry.js';
import type { TensorSource } from '../../model/tensor-source.js';
import { repositoryPath } from './golden.js';

/** What the command calibrates a model with: the demo model, or one without a tokenizer. */
export function testCalibrationText(source: TensorSource): Int32Array {
  const sizes = architectureOf(source).hyperparameters(source);
  const canRead = source.metadata.has('tokenizer.ggml.tokens');
  const settings = canRead
    ? { model: repositoryPath('models/demo.gguf') }
    : { synthetic: 'qwen3-0.6b' as const };
  return calibrationText({ settings, source, sizes });
}
