import { tensorTypeNamed } from '../../model/gguf/tensor-types.js';
import { syntheticShapes } from '../../model/synthetic/shapes.js';
import { syntheticModel } from '../../model/synthetic/synthetic-model.js';
import type { MetadataValue, TensorInfo, TensorSource } from '../../model/tensor-source.js';
import { tinyShape } from './tiny-model.js';

/** What is different from a model that is in order. */
export interface Change {
  readonly what: string;
  readonly numbers?: Readonly<Record<string, MetadataValue>>;
  readonly added?: readonly TensorInfo[];
  readonly dropped?: RegExp;
}

const { hiddenSize, heads, kvHeads, headSize, feedForward, vocabulary } = tinyShape;
const [queries, keys] = [heads * headSize, kvHeads * headSize];

const numbers: Readonly<Record<string, readonly MetadataValue[]>> = {
  'attention.causal': [false],
  'attention.clamp_kqv': [0.05],
  'attention.head_count': [2],
  'attention.head_count_kv': [1, 3],
  'attention.key_length': [16],
  'attention.layer_norm_rms_epsilon': [0.1],
  'attention.max_alibi_bias': [8],
  'attention.scale': [0.5],
  'attention.sliding_window': [3],
  'attention.temperature_length': [4],
  'attention.value_length': [16],
  attn_logit_softcapping: [0.5],
  embedding_scale: [3],
  expert_count: [4],
  expert_gating_func: [1, 2],
  expert_weights_norm: [true, false],
  expert_weights_scale: [2],
  final_logit_softcapping: [1],
  leading_dense_block_count: [2],
  logit_scale: [0.25],
  nextn_predict_layers: [1],
  residual_scale: [0.5],
  'rope.dimension_count': [8],
  'rope.freq_base': [500],
  'rope.scale_linear': [4],
  'rope.scaling.attn_factor': [2],
  'rope.scaling.factor': [4],
  'rope.scaling.yarn_log_multiplier': [0.1],
  use_parallel_residual: [true],
};

const scalings = ['none', 'linear', 'yarn', 'longrope'] as const;

function changes(): Change[] {
  const keyed = Object.entries(numbers).flatMap(([name, values]) =>
    values.map((value): Change => ({
      what: `${name} ${String(value)}`,
      numbers: { [name]: value },
    })),
  );
  const scaled = scalings.map((type): Change => ({
    what: `rope scaling ${type}`,
    numbers: {
      'rope.scaling.type': type,
      'rope.scaling.factor': 4,
      'rope.scaling.original_context_length': 16,
    },
  }));
  const everywhere = (name: string, ...shape: number[]): TensorInfo[] =>
    [0, 1, 2].map((layer) => f32(`blk.${layer}.${name}`, ...shape));
  const one = (name: string, ...shape: number[]): Change => ({
    what: name,
    added: [f32(name, ...shape)],
  });
  const joined = everywhere('attn_qkv.weight', hiddenSize, queries + 2 * keys);
  return [
    { what: 'nothing' },
    ...keyed,
    ...scaled,
    one('blk.0.attn_q.bias', queries),
    one('blk.1.attn_output.bias', hiddenSize),
    one('blk.1.attn_q.scale', 1),
    one('blk.0.attn_q.input_scale', 1),
    one('blk.0.attn_sinks.weight', heads),
    one('blk.0.attn_q_norm.weight', headSize),
    one('blk.0.attn_norm.bias', hiddenSize),
    one('blk.0.post_attention_norm.weight', hiddenSize),
    one('blk.0.ffn_gate.bias', feedForward),
    one('blk.0.ffn_gate_inp.weight', hiddenSize, 4),
    one('output.bias', vocabulary),
    one('output_norm.bias', hiddenSize),
    one('rope_freqs.weight', headSize / 2),
    one('rope_factors_long.weight', headSize / 2),
    one('token_embd_norm.weight', hiddenSize),
    { what: 'attn_qkv', dropped: /attn_[qkv]\.weight/, added: joined },
    { what: 'no biases', dropped: /attn_[qkv]\.bias/ },
    { what: 'no head norms', dropped: /attn_[qk]_norm/ },
    { what: 'no selection bias', dropped: /exp_probs_b/ },
  ];
}

function f32(name: string, ...shape: number[]): TensorInfo {
  const bytes = shape.reduce((product, size) => product * size, 4);
  return { name, type: tensorTypeNamed('f32'), shape, bytes };
}

/** Files of a family with one thing changed each. */
export function madeUpFiles(family: string): { what: string; source: TensorSource }[] {
  const shape = syntheticShapes[`tiny-${family}`] ?? { ...tinyShape, architecture: family };
  const sound = syntheticModel(shape, 'f32');
  return changes().map(({ what, numbers = {}, added = [], dropped }) => ({
    what,
    source: changed(sound, family, numbers, added, dropped),
  }));
}

function changed(
  sound: TensorSource,
  family: string,
  numbers: Readonly<Record<string, MetadataValue>>,
  added: readonly TensorInfo[],
  dropped: RegExp | undefined,
): TensorSource {
  const kept = [...sound.tensors.values()].filter(({ name }) => !dropped?.test(name));
  const tensors = new Map([...kept, ...added].map((tensor) => [tensor.name, tensor]));
  const keyed = Object.entries(numbers).map(
    ([name, value]) => [`${family}.${name}`, value] as const,
  );
  return {
    ...sound,
    metadata: new Map([...sound.metadata, ...keyed]),
    tensors,
    close: () => Promise.resolve(),
    read: (name, offset, into) => {
      const own = added.find((tensor) => tensor.name === name);
      if (!own) return sound.read(name, offset, into);
      const values = Float32Array.from({ length: own.bytes / 4 }, (_, i) => madeUp(own, i));
      into.set(new Uint8Array(values.buffer).subarray(offset, offset + into.byteLength));
      return Promise.resolve();
    },
  };
}

/** Small for matrices, and about 1 for what is multiplied by element. */
function madeUp({ shape }: TensorInfo, i: number): number {
  return shape.length > 1 ? 0.12 * Math.sin(1.7 * i + 0.3) : 0.9 + 0.3 * Math.sin(3.1 * i + 1);
}
