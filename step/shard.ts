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
