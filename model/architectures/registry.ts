import { ModelError, quoted } from '../errors.js';
import { metadataString } from '../gguf/metadata.js';
import type { TensorSource } from '../tensor-source.js';
import type { Architecture } from './architecture.js';
import { llama } from './llama.js';
import { qwen2 } from './qwen2.js';
import { qwen3 } from './qwen3.js';

const architectures: readonly Architecture[] = [llama, qwen2, qwen3];

/**
 * The family of a model.
 * @throws ModelError that names the supported families when this one is not among them.
 */
export function architectureOf({ metadata }: Pick<TensorSource, 'metadata'>): Architecture {
  const name = metadataString(metadata, 'general.architecture');
  const found = architectures.find((architecture) => architecture.name === name);
  if (!found)
    throw new ModelError(
      'unsupported',
      `unsupported architecture ${quoted(name)}: supported are ${architectures.map((a) => a.name).join(', ')}`,
    );
  return found;
}
