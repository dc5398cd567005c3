import type { TensorType } from '../gguf/tensor-types.js';

/** One layer of a model as data: what it computes with, and so what it keeps of a text. */
export interface Layer {
  readonly attention: Attention;
  readonly feedForward: FeedForward;
  /** Ops that it is written in, and products with weights among them. */
  readonly operations: number;
  readonly products: number;
}

export type Attention = GroupedQueryAttention | LatentAttention | LinearAttention;

/** Heads of queries in groups, each group with one head of keys and one of values (arXiv 2305.13245). */
export interface GroupedQueryAttention {
  readonly kind: 'gqa';
  readonly heads: number;
  readonly kvHeads: number;
  /** Features of a head of queries, and of one of keys. */
  readonly keySize: number;
  /** Features of a head of values. */
  readonly valueSize: number;
  /** How scores are made (`AttentionOptions`). */
  readonly scale: number;
  /** Positions that a token sees, the last being its own; absent where it sees the whole text. */
  readonly window?: number;
  readonly softcap?: number;
  /** Name of the tensor of sinks. */
  readonly sinks?: string;
}

/** The keys and values of all heads are made from one latent vector, and only that is kept (arXiv 2405.04434). */
export interface LatentAttention {
  readonly kind: 'mla';
  readonly heads: number;
  /** Features of the latent vector. */
  readonly latentSize: number;
  /** Features of the rotated key that is kept beside it. */
  readonly rotatedSize: number;
  readonly scale: number;
}

/** A state of fixed size stands for all tokens so far (arXiv 2412.06464). */
export interface LinearAttention {
  readonly kind: 'linear';
  readonly heads: number;
  /** Rows and columns of a head's matrix. */
  readonly size: number;
  /** Features that are convolved, and over how many rows. */
  readonly convolved: number;
  readonly width: number;
}

/** f32 numbers of one state: the heads' matrices, and the rows that the convolution looks back at. */
export function stateElements({ heads, size, convolved, width }: LinearAttention): {
  readonly matrices: number;
  readonly rows: number;
} {
  return { matrices: heads * size * size, rows: convolved * (width - 1) };
}

export type FeedForward = DenseFeedForward | ExpertFeedForward;

export interface DenseFeedForward {
  readonly kind: 'dense';
  /** Features between the two products. */
  readonly size: number;
}

/** Every token goes through some of many feed-forwards (arXiv 1701.06538). */
export interface ExpertFeedForward {
  readonly kind: 'moe';
  readonly experts: number;
  /** Experts that a token goes through. */
  readonly chosen: number;
  /** Features between the two products of an expert. */
  readonly size: number;
  /** The same of the expert that all tokens go through; 0 where there is none. */
  readonly sharedSize: number;
}

/** What a layer keeps of a sequence. Estimates, KV caches and whatever moves or stores their contents go by this alone. */
export type LayerMemory = CellMemory | StateMemory;

/** Keys and values for every cell, in whatever type the engine keeps them. */
export interface CellMemory {
  readonly kind: 'cells';
  /** Numbers in a cell's row of keys. */
  readonly keyElements: number;
  /** Numbers in a cell's row of values; 0 where values are made from what is kept as keys. */
  readonly valueElements: number;
  /** Cells that a sequence needs at most; absent where it needs one for every token. */
  readonly window?: number;
}

/** States of fixed size: one says all of a sequence of any length, up to one position. */
export interface StateMemory {
  readonly kind: 'state';
  /** Of one state. */
  readonly bytes: number;
}

/** What a layer keeps of a sequence. */
export function layerMemory({ attention }: Layer): LayerMemory {
  switch (attention.kind) {
    case 'gqa': {
      const { kvHeads, keySize, valueSize, window } = attention;
      return {
        kind: 'cells',
        keyElements: kvHeads * keySize,
        valueElements: kvHeads * valueSize,
        ...(window === undefined ? {} : { window }),
      };
    }
    case 'mla': {
      const keyElements = attention.latentSize + attention.rotatedSize;
      return { kind: 'cells', keyElements, valueElements: 0 };
    }
    case 'linear': {
      const { matrices, rows } = stateElements(attention);
      return { kind: 'state', bytes: 4 * (matrices + rows) };
    }
  }
}

/** Whether some layers keep states, so that a text can only go on from where there is one. */
export function keepsStates(layers: readonly Layer[]): boolean {
  return layers.some((layer) => layerMemory(layer).kind === 'state');
}

/** How numbers are packed: `tensorTypeNamed(…)`, or an engine's own of one number per block. */
export type Packing = Pick<TensorType, 'blockSize' | 'blockBytes'>;

/** Bytes of one cell in one layer. */
export function cellBytes(
  { keyElements, valueElements }: CellMemory,
  keys: Packing,
  values: Packing,
): number {
  const bytes = (elements: number, { blockSize, blockBytes }: Packing) =>
    (elements / blockSize) * blockBytes;
  return bytes(keyElements, keys) + bytes(valueElements, values);
}

/** Tokens that a layer with a window keeps beyond it: as far steps may be ahead, and texts go back. */
const spareCells = 2048;

/** As far as tokens may be under way, of which nobody knows yet whether they stay. */
const mostUnderWay = 512;

/**
 * Cells that a layer keeps of a conversation. With a window they are a ring, in which new tokens take the places of those
 * that no row sees any more.
 * @param cells that the conversation's text may have
 * @param mostRows of a step
 */
export function keptCells(window: number | undefined, cells: number, mostRows: number): number {
  if (window === undefined) return cells;
  const kept = window + Math.max(spareCells, mostRows + mostUnderWay);
  return Math.min(cells, Math.ceil(kept / 64) * 64);
}

/** Tokens that a text may lose without a layer lacking what it sees; further back it is computed anew. */
export function rewindOf(layers: readonly Layer[], cells: number, mostRows: number): number {
  const rewinds = layers.map((layer) => {
    const memory = layerMemory(layer);
    if (memory.kind === 'state' || memory.window === undefined) return Infinity;
    const kept = keptCells(memory.window, cells, mostRows);
    return kept === cells ? Infinity : kept - memory.window - mostUnderWay;
  });
  return Math.min(Infinity, ...rewinds);
}
