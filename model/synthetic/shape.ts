import type { MetadataValue } from '../tensor-source.js';

/** The sizes of a model with random weights. */
export interface SyntheticShape {
  /** Name of a family. */
  readonly architecture: string;
  readonly layers: number;
  readonly hiddenSize: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  readonly feedForward: number;
  readonly vocabulary: number;
  /** Whether the head uses the embedding's matrix. */
  readonly tied: boolean;
  readonly ropeBase?: number;
  readonly contextLength?: number;
  /** What the family wants to know beside these sizes, by names without that of the family. */
  readonly numbers?: Readonly<Record<string, MetadataValue>>;
  /** Optional tensors to have beside those that the family usually has. */
  readonly optional?: RegExp;
  readonly seed?: number;
}
