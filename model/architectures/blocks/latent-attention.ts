import type { FamilyNumbers } from '../family-numbers.js';
import type { GraphBuilder, Temper } from '../graph-builder.js';
import { readRope, type RopeParameters } from '../rope.js';

/**
 * Multi-head latent attention (arXiv 2405.04434) in its absorbed form: what makes keys and values of the latent vector
 * is multiplied with queries and with what is attended to instead, so that all heads share the vector that is kept.
 */
export interface LatentHeads {
  readonly heads: number;
  /** Features of the vector that queries are made from; 0 where they are made from the hidden state. */
  readonly queryRank: number;
  /** Features of the latent vector. */
  readonly latentSize: number;
  /** Features of a head that are made from the latent vector, beside those of the rope. */
  readonly plainSize: number;
  readonly valueSize: number;
  readonly rope: RopeParameters;
  /** Multiplies scores. */
  readonly scale: number;
  /** Queries grow with their positions. */
  readonly temper?: Temper;
  readonly epsilon: number;
}

/** @throws ModelError */
export function readLatentHeads(numbers: FamilyNumbers): LatentHeads {
  if (!numbers.has('attention.key_length_mla'))
    throw numbers.unsupported('attention.key_length_mla', 'is missing, as in files with attn_kv_b');
  const keySize = numbers.of('attention.key_length_mla');
  const read = readRope(numbers, keySize, 'neighbours');
  const plainSize = keySize - read.dimensions;
  if (plainSize === 0) throw numbers.atOdds(`all ${keySize} features of a head are rotated`);
  const { rope, sharpness } = yarnOfScores(numbers, read);
  return {
    heads: numbers.of('attention.head_count'),
    queryRank: numbers.of('attention.q_lora_rank', 0),
    latentSize: numbers.of('attention.kv_lora_rank'),
    plainSize,
    valueSize: numbers.of('attention.value_length_mla'),
    rope,
    scale: sharpness ** 2 / Math.sqrt(keySize),
    ...readTemper(numbers),
    epsilon: numbers.of('attention.layer_norm_rms_epsilon'),
  };
}

function readTemper(numbers: FamilyNumbers): Pick<LatentHeads, 'temper'> {
  const scale = numbers.of('attention.temperature_scale', 0);
  if (scale === 0) return {};
  return { temper: { scale, length: numbers.of('attention.temperature_length') } };
}

/**
 * YaRN (arXiv 2309.00071) makes attention sharper by multiplying queries and keys. Only a part of them is rotated here,
 * so models that have a multiplier of their own multiply scores instead, and leave what is rotated as long as it is.
 */
function yarnOfScores(
  numbers: FamilyNumbers,
  rope: RopeParameters,
): { rope: RopeParameters; sharpness: number } {
  const { yarnFactor, frequencyScale, magnitude } = rope;
  if (yarnFactor === 0 && frequencyScale !== 1)
    throw numbers.unsupported('rope.scaling.type', 'is not yarn');
  // Kimi K2 has other betas; llama.cpp computes with the usual ones.
  numbers.leave('rope.scaling.yarn_beta_fast', 'rope.scaling.yarn_beta_slow');
  // Files have it times 0.1, which is what the logarithm is multiplied by.
  const multiplier = numbers.of('rope.scaling.yarn_log_multiplier', 0);
  const logarithm = Math.log(1 / frequencyScale);
  const usual = yarnFactor === 0 ? 1 : 1 + 0.1 * logarithm;
  const sharpness = magnitude * (1 + multiplier * logarithm);
  if (multiplier !== 0) return { rope: { ...rope, magnitude: magnitude / usual }, sharpness };
  return { rope, sharpness: sharpness * usual };
}

/**
 * From what a norm gave to what the heads attended to, before `attn_output`: [heads · valueSize, n].
 * @param x [hiddenSize, n]
 * @param layer index
 */
export function attendLatent<Value>(
  graph: GraphBuilder<Value>,
  x: Value,
  layer: number,
  { heads, queryRank, latentSize, plainSize, valueSize, rope, scale, temper, epsilon }: LatentHeads,
): Value {
  const tensor = (name: string) => `blk.${layer}.${name}`;
  const { dimensions: rotatedSize } = rope;
  const querySize = plainSize + rotatedSize;
  const q = graph.splitHeads(queries(), heads);
  const absorbed = graph.headLinear(graph.slice(q, 0, plainSize), tensor('attn_k_b'), latentSize);
  const rotated = graph.rope(graph.slice(q, plainSize, rotatedSize), rope);

  const kept = graph.linear(x, tensor('attn_kv_a_mqa'), latentSize + rotatedSize);
  const latent = graph.rmsNorm(
    graph.slice(kept, 0, latentSize),
    epsilon,
    tensor('attn_kv_a_norm.weight'),
  );
  const position = graph.rope(
    graph.splitHeads(graph.slice(kept, latentSize, rotatedSize), 1),
    rope,
  );
  const query = graph.concat(absorbed, rotated);
  const attended = graph.latentAttention(
    layer,
    temper ? graph.temper(query, temper) : query,
    graph.concat(graph.splitHeads(latent, 1), position),
    latentSize,
    scale,
  );
  const values = graph.headLinear(graph.splitHeads(attended, heads), tensor('attn_v_b'), valueSize);
  return graph.joinHeads(values);

  function queries(): Value {
    if (queryRank === 0) return graph.linear(x, tensor('attn_q'), heads * querySize);
    const reduced = graph.linear(x, tensor('attn_q_a'), queryRank);
    const normal = graph.rmsNorm(reduced, epsilon, tensor('attn_q_a_norm.weight'));
    return graph.linear(normal, tensor('attn_q_b'), heads * querySize);
  }
}
