import type { TensorInfo } from './tensor-source.js';

/** A contiguous range of layers, with the model's two ends where it touches them. */
export interface Shard {
  /** Layers [firstLayer, endLayer). */
  readonly firstLayer: number;
  readonly endLayer: number;
  /** Whether this shard turns token ids into hidden states. */
  readonly embedding: boolean;
  /** Whether this shard turns hidden states into token ids. */
  readonly head: boolean;
}

/** Whether a shard has no layers: that of a coordinator which computes nothing. */
export function isEmpty({ firstLayer, endLayer }: Shard): boolean {
  return firstLayer === endLayer;
}

export const embeddingTensor = 'token_embd.weight';
export const outputNormTensor = 'output_norm.weight';
export const ropeFactorsTensor = 'rope_freqs.weight';

/** The matrix of the head: its own, or the embedding's where the model ties the two. */
export function headTensor(tensors: ReadonlyMap<string, TensorInfo>): string {
  return tensors.has('output.weight') ? 'output.weight' : embeddingTensor;
}

/** Name of the head's matrix, without its suffix. */
export function headMatrix(tensors: ReadonlyMap<string, TensorInfo>): string {
  return headTensor(tensors).replace(/\.weight$/, '');
}

/** The tensors that a shard needs, each once, in the order of the model's table. */
export function tensorsOfShard(
  tensors: ReadonlyMap<string, TensorInfo>,
  shard: Shard,
): TensorInfo[] {
  const head = headTensor(tensors);
  return [...tensors.values()].filter(({ name }) => {
    const layer = /^blk\.(\d+)\./.exec(name)?.[1];
    if (layer !== undefined)
      return Number(layer) >= shard.firstLayer && Number(layer) < shard.endLayer;
    if (name === ropeFactorsTensor) return shard.endLayer > shard.firstLayer;
    return (
      (shard.embedding && name === embeddingTensor) ||
      (shard.head && (name === outputNormTensor || name === head))
    );
  });
}
