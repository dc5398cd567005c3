import type { TensorSource } from '../tensor-source.js';
import type { GraphBuilder } from './graph-builder.js';
import type { Hyperparameters } from './hyperparameters.js';

/** A model family: its sizes, and one layer as a function over the op vocabulary. */
export interface Architecture {
  /** Value of `general.architecture` in GGUF. */
  readonly name: string;
  /** @throws ModelError when the metadata is incomplete. */
  hyperparameters(source: Pick<TensorSource, 'metadata' | 'tensors'>): Hyperparameters;
  /** Adds layer `index` to the graph: hidden [hiddenSize, n] in, hidden of the same shape out. */
  layer<Value>(
    graph: GraphBuilder<Value>,
    sizes: Hyperparameters,
    index: number,
    hidden: Value,
  ): Value;
}
