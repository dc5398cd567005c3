import { ModelError, quoted } from '../errors.js';
import { metadataString } from '../gguf/metadata.js';
import type { TensorSource } from '../tensor-source.js';
import type { Family } from './family.js';
import { bailingmoe2 } from './families/bailingmoe2.js';
import { cohere2 } from './families/cohere2.js';
import { deepseek2 } from './families/deepseek2.js';
import { dots1 } from './families/dots1.js';
import { ernie45moe } from './families/ernie4-5-moe.js';
import { exaone4 } from './families/exaone4.js';
import { gemma2 } from './families/gemma2.js';
import { gemma3 } from './families/gemma3.js';
import { glm4 } from './families/glm4.js';
import { glm4moe } from './families/glm4moe.js';
import { gptOss } from './families/gpt-oss.js';
import { granite } from './families/granite.js';
import { granitemoe } from './families/granitemoe.js';
import { hunyuanMoe } from './families/hunyuan-moe.js';
import { lfm2, lfm2moe } from './families/lfm2.js';
import { llama } from './families/llama.js';
import { mimo2 } from './families/mimo2.js';
import { minicpm } from './families/minicpm.js';
import { minimaxM2 } from './families/minimax-m2.js';
import { mistral3 } from './families/mistral3.js';
import { olmo2 } from './families/olmo2.js';
import { phi3 } from './families/phi3.js';
import { qwen2 } from './families/qwen2.js';
import { qwen2moe } from './families/qwen2moe.js';
import { qwen3 } from './families/qwen3.js';
import { qwen35 } from './families/qwen35.js';
import { qwen35moe } from './families/qwen35moe.js';
import { qwen3moe } from './families/qwen3moe.js';
import { qwen3next } from './families/qwen3next.js';
import { seedOss } from './families/seed-oss.js';
import { smollm3 } from './families/smollm3.js';
import { step35 } from './families/step35.js';

/** All that there are; a new one is added here. */
export const families: readonly Family[] = [
  bailingmoe2,
  cohere2,
  deepseek2,
  dots1,
  ernie45moe,
  exaone4,
  gemma2,
  gemma3,
  glm4,
  glm4moe,
  gptOss,
  granite,
  granitemoe,
  hunyuanMoe,
  lfm2,
  lfm2moe,
  llama,
  mimo2,
  minicpm,
  minimaxM2,
  mistral3,
  olmo2,
  phi3,
  qwen2,
  qwen2moe,
  qwen3,
  qwen35,
  qwen35moe,
  qwen3moe,
  qwen3next,
  seedOss,
  smollm3,
  step35,
];

/**
 * The family of a model.
 * @throws ModelError that names the supported families when this one is not among them.
 */
export function familyOf(metadata: TensorSource['metadata']): Family {
  const name = metadataString(metadata, 'general.architecture');
  const found = families.find((family) => family.name === name);
  if (!found)
    throw new ModelError(
      'unsupported',
      `unsupported architecture ${quoted(name)}: supported are ${families.map((family) => family.name).join(', ')}`,
    );
  return found;
}
