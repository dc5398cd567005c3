import koffi from 'koffi';
import { fixed } from '../../engine/onnx/runtime/fixed-arrays.js';
import { loadNativeLibraries } from '../../model/native/libraries.js';
import type { Sampling } from '../../step/sampling.js';

/** llama_token_data: id i32, logit f32, p f32. */
const wordsPerToken = 3;
/** llama_token_data_array: data pointer, size u64, selected i64, sorted bool. */
const field = { data: 0, size: 1, selected: 2, sorted: 3 };

/**
 * Logits of the candidates that llama.cpp's own samplers leave, the largest first, with at least one kept: penalty of
 * repetition over the last 64 tokens, top-k, typical-p, top-p, min-p.
 * @param text tokens so far
 */
export function llamaCppCandidates(
  logits: Float32Array,
  sampling: Sampling,
  text: Int32Array,
): number[] {
  const { llama } = loadNativeLibraries();
  const accept = llama.func('void llama_sampler_accept(void*, int32)');
  const apply = llama.func('void llama_sampler_apply(void*, void*)');
  const free = llama.func('void llama_sampler_free(void*)');
  const data = fixed.f32(wordsPerToken * logits.length);
  const ids = new Int32Array(data.buffer);
  logits.forEach((logit, token) => {
    ids[wordsPerToken * token] = token;
    data[wordsPerToken * token + 1] = logit;
  });
  const array = fixed.i64(4);
  array[field.data] = koffi.address(data);
  array[field.size] = BigInt(logits.length);
  array[field.selected] = -1n;

  const samplers = samplersOf(sampling, logits.length);
  for (const token of text) accept(samplers[0], token);
  for (const sampler of samplers) {
    apply(sampler, array);
    free(sampler);
  }
  if (array[field.data] !== koffi.address(data)) throw new Error('llama.cpp moved the candidates');
  return Array.from(
    { length: Number(array[field.size]) },
    (_, i) => data[wordsPerToken * i + 1]!,
  ).sort((a, b) => b - a);
}

/** In llama.cpp's default order; the penalties come first. */
function samplersOf(
  { repetitionPenalty, topK, typicalP, topP, minP }: Sampling,
  vocabulary: number,
): bigint[] {
  const { llama } = loadNativeLibraries();
  const withLeast = (name: string) => llama.func(`void* llama_sampler_init_${name}(float, size_t)`);
  const penalties = llama.func(
    'void* llama_sampler_init_penalties(int32, int32, float, float, float)',
  ) as (...of: number[]) => bigint;
  return [
    penalties(vocabulary, 64, repetitionPenalty, 0, 0),
    llama.func('void* llama_sampler_init_top_k(int32)')(topK) as bigint,
    withLeast('typical')(typicalP, 1) as bigint,
    withLeast('top_p')(topP, 1) as bigint,
    withLeast('min_p')(minP, 1) as bigint,
  ];
}
