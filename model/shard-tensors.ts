import { isEmpty, type Shard } from '../step/shard.js';
import type { TensorInfo } from './tensor-source.js';

export const embeddingTensor = 'token_embd.weight';
export const outputNormTensor = 'output_norm.weight';
/** The same in models that name it after the embedding. */
export const embeddingNormTensor = 'token_embd_norm.weight';
export const headTensorName = 'output.weight';
/** Of the head, also where its matrix is the embedding's. */
export const headBias = 'output.bias';
export const ropeFactorsTensor = 'rope_freqs.weight';

type TensorTable = ReadonlyMap<string, TensorInfo>;

/** The matrix of the head: its own, or the embedding's where the model ties the two. */
export function headTensor(tensors: TensorTable): string {
  return tensors.has(headTensorName) ? headTensorName : embeddingTensor;
}

/** Name of the head's matrix, without its suffix. */
export function headMatrix(tensors: TensorTable): string {
  return headTensor(tensors).replace(/\.weight$/, '');
}

/**
 * Whether a shard's head multiplies with the embedding's matrix. One with both ends then has it twice in memory: as the
 * table that token ids are looked up in, and as the head.
 */
export function hasTiedHead(tensors: TensorTable, shard: Pick<Shard, 'head'>): boolean {
  return shard.head && headTensor(tensors) === embeddingTensor;
}

/** The tensors that a shard needs, each once, in the order of the model's table. */
export function tensorsOfShard(tensors: TensorTable, shard: Shard): TensorInfo[] {
  const head = headTensor(tensors);
  return [...tensors.values()].filter(({ name }) => isOfShard(name, shard, head));
}

/** Whether a shard needs a tensor. @param head name of the model's head matrix, as `headTensor` says it */
export function isOfShard(name: string, shard: Shard, head: string): boolean {
  const layer = /^blk\.(\d+)\./.exec(name)?.[1];
  if (layer !== undefined)
    return Number(layer) >= shard.firstLayer && Number(layer) < shard.endLayer;
  if (name.startsWith('rope_')) return !isEmpty(shard);
  return (
    (shard.embedding && name === embeddingTensor) ||
    (shard.head &&
      (name === head ||
        name === embeddingNormTensor ||
        name.startsWith('output_norm.') ||
        (name.startsWith('output.') && name !== headTensorName)))
  );
}
