import { embeddingNormTensor } from '../../shard-tensors.js';
import { readExperts } from '../blocks/experts.js';
import { attend, headSizes, type HeadAttention } from '../blocks/grouped-query-attention.js';
import { addToStream, normsBefore } from '../blocks/residual.js';
import { shortConvolution } from '../blocks/short-convolution.js';
import { readSizes, type Decoder, type Family } from '../family.js';
import type { FamilyNumbers } from '../family-numbers.js';
import { readRope } from '../rope.js';
import { layerFeedForward, type LayerFeedForward } from './plain.js';

/** llama.cpp loads these, and does not compute with them. */
const lacks = /attn_qkv\.|(?<!exp_probs_b)\.bias$|(shortconv|attn|ffn)\S+\.scale$/;

/** LFM2 (arXiv 2511.23404): short convolutions, and attention in the layers that have heads of keys. */
export const lfm2: Family = {
  name: 'lfm2',
  lacks,
  open: (numbers) => {
    if (numbers.of('expert_count', 0) !== 0)
      throw numbers.unsupported('expert_count', 'is not 0: experts are for lfm2moe');
    const window = numbers.of('attention.sliding_window', 0);
    const options = window === 0 ? {} : { options: { window } };
    return openShort(numbers, layerFeedForward(numbers, {}), options);
  },
};

function openShort(
  numbers: FamilyNumbers,
  feed: LayerFeedForward,
  options: Pick<HeadAttention, 'options'>,
): Decoder {
  const sizes = readSizes(numbers);
  const { hiddenSize, layers } = sizes;
  const epsilon = numbers.of('attention.layer_norm_rms_epsilon');
  const width = numbers.of('shortconv.l_cache');
  const attentions = readAttentions(numbers, layers);
  return {
    ...sizes,
    layer: (graph, layer, hidden) => {
      const attention = attentions[layer];
      const around = { layer, epsilon };
      const middle = addToStream(
        graph,
        hidden,
        { ...around, norms: normsBefore.attention },
        (x) => {
          if (attention === undefined)
            return shortConvolution(graph, x, layer, { hiddenSize, width });
          const attended = attend(graph, x, layer, { ...attention, ...options, epsilon });
          return graph.linear(attended, `blk.${layer}.attn_output`, hiddenSize);
        },
      );
      return addToStream(graph, middle, { ...around, norms: normsBefore.feedForward }, (x) =>
        feed(graph, x, layer),
      );
    },
    head: (graph, hidden) => graph.logits(graph.rmsNorm(hidden, epsilon, embeddingNormTensor)),
  };
}

/** How layers attend; undefined where they do not. */
function readAttentions(
  numbers: FamilyNumbers,
  layers: number,
): (Omit<HeadAttention, 'epsilon'> | undefined)[] {
  const heads = numbers.of('attention.head_count');
  return numbers.ofSomeLayers('attention.head_count_kv', layers).map((kvHeads) => {
    if (kvHeads === 0) return undefined;
    const sizes = headSizes(numbers, heads, kvHeads);
    return { ...sizes, rope: readRope(numbers, sizes.keySize, 'halves'), norms: 'each head' };
  });
}

/** LFM2 with experts, such as 8B-A1B. */
export const lfm2moe: Family = {
  name: 'lfm2moe',
  usually: /exp_probs_b/,
  lacks,
  open: (numbers) => {
    const experts = readExperts(numbers, { gating: 'sigmoid', normalise: true, said: 'gating' });
    return openShort(numbers, layerFeedForward(numbers, { experts }), {});
  },
};
