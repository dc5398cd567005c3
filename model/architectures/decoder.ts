import {
  embeddingTensor,
  headTensorName,
  outputNormTensor,
  ropeFactorsTensor,
} from '../shard-tensors.js';
import type { Architecture, ExpectedTensor } from './architecture.js';
import type { GraphBuilder } from './graph-builder.js';
import { readHyperparameters, type Hyperparameters, type RopePairing } from './hyperparameters.js';
import type { Layer } from './layer.js';

/** What differs between the families that share the pre-norm decoder layer with a gated feed-forward. */
export interface DecoderVariant {
  readonly ropePairing: RopePairing;
  /** Whether models may have factors for the frequencies of rotary embedding. */
  readonly ropeFactors: boolean;
  /** Whether the q, k and v projections have a bias. */
  readonly attentionBias: boolean;
  /** Whether every head of q and k is normalised before rotation. */
  readonly headNorms: boolean;
}

/** A family of decoders whose layers are all alike. @param name value of `general.architecture` */
export function decoderFamily(name: string, variant: DecoderVariant): Architecture {
  return {
    name,
    hyperparameters: (source) => readHyperparameters(source, name, variant.ropePairing),
    layers: (sizes) => Array.from({ length: sizes.layers }, () => layerOf(sizes)),
    tensors: (sizes) => decoderTensors(sizes, variant),
    layer: (graph, sizes, index, hidden) => decoderLayer(graph, sizes, index, hidden, variant),
  };
}

function layerOf({ heads, kvHeads, headSize, feedForwardSize }: Hyperparameters): Layer {
  return {
    attention: { kind: 'gqa', heads, kvHeads, keySize: headSize, valueSize: headSize },
    feedForward: { kind: 'dense', size: feedForwardSize },
  };
}

function decoderTensors(sizes: Hyperparameters, variant: DecoderVariant): ExpectedTensor[] {
  const { hiddenSize, vocabulary } = sizes;
  const layers = Array.from({ length: sizes.layers }, (_, index) =>
    layerTensors(sizes, `blk.${index}`, variant),
  );
  return [
    expected(embeddingTensor, hiddenSize, vocabulary),
    ...(variant.ropeFactors
      ? [{ ...expected(ropeFactorsTensor, sizes.rope.dimensions / 2), isOptional: true }]
      : []),
    ...layers.flat(),
    expected(outputNormTensor, hiddenSize),
    { ...expected(headTensorName, hiddenSize, vocabulary), isOptional: true },
  ];
}

function layerTensors(
  { hiddenSize, heads, kvHeads, headSize, feedForwardSize }: Hyperparameters,
  layer: string,
  { attentionBias, headNorms }: DecoderVariant,
): ExpectedTensor[] {
  const queries = heads * headSize;
  const keys = kvHeads * headSize;
  return [
    expected(`${layer}.attn_norm.weight`, hiddenSize),
    expected(`${layer}.attn_q.weight`, hiddenSize, queries),
    expected(`${layer}.attn_k.weight`, hiddenSize, keys),
    expected(`${layer}.attn_v.weight`, hiddenSize, keys),
    expected(`${layer}.attn_output.weight`, queries, hiddenSize),
    ...(attentionBias
      ? [
          expected(`${layer}.attn_q.bias`, queries),
          expected(`${layer}.attn_k.bias`, keys),
          expected(`${layer}.attn_v.bias`, keys),
        ]
      : []),
    ...(headNorms
      ? [
          expected(`${layer}.attn_q_norm.weight`, headSize),
          expected(`${layer}.attn_k_norm.weight`, headSize),
        ]
      : []),
    expected(`${layer}.ffn_norm.weight`, hiddenSize),
    expected(`${layer}.ffn_gate.weight`, hiddenSize, feedForwardSize),
    expected(`${layer}.ffn_up.weight`, hiddenSize, feedForwardSize),
    expected(`${layer}.ffn_down.weight`, feedForwardSize, hiddenSize),
  ];
}

function expected(name: string, ...shape: number[]): ExpectedTensor {
  return { name, shape };
}

/** x + attention(norm(x)), then x + feedForward(norm(x)). */
function decoderLayer<Value>(
  graph: GraphBuilder<Value>,
  sizes: Hyperparameters,
  index: number,
  hidden: Value,
  variant: DecoderVariant,
): Value {
  const tensor = (name: string) => `blk.${index}.${name}`;
  const bias = { bias: variant.attentionBias };

  const x = graph.rmsNorm(hidden, tensor('attn_norm.weight'));
  let q = graph.splitHeads(graph.linear(x, tensor('attn_q'), bias), sizes.heads);
  let k = graph.splitHeads(graph.linear(x, tensor('attn_k'), bias), sizes.kvHeads);
  const v = graph.splitHeads(graph.linear(x, tensor('attn_v'), bias), sizes.kvHeads);
  if (variant.headNorms) {
    q = graph.rmsNorm(q, tensor('attn_q_norm.weight'));
    k = graph.rmsNorm(k, tensor('attn_k_norm.weight'));
  }
  const attended = graph.attention(index, graph.rope(q), graph.rope(k), v);
  const middle = graph.add(hidden, graph.linear(attended, tensor('attn_output')));

  const y = graph.rmsNorm(middle, tensor('ffn_norm.weight'));
  const gated = graph.swiglu(
    graph.linear(y, tensor('ffn_gate')),
    graph.linear(y, tensor('ffn_up')),
  );
  return graph.add(middle, graph.linear(gated, tensor('ffn_down')));
}
