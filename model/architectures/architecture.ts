import type { TensorSource } from '../tensor-source.js';
import type { GraphBuilder } from './graph-builder.js';
import type { Hyperparameters } from './hyperparameters.js';
import type { Layer } from './layer.js';

/** A model family: its sizes, its layers and tensors as data, and one layer as a function over the op vocabulary. */
export interface Architecture {
  /** Value of `general.architecture` in GGUF. */
  readonly name: string;
  /** @throws ModelError when a number is missing, out of its range, or at odds with another */
  hyperparameters(source: Pick<TensorSource, 'metadata' | 'tensors'>): Hyperparameters;
  /** What every layer is, in their order. */
  layers(sizes: Hyperparameters): readonly Layer[];
  /** All tensors that a model of these sizes has or may have, in the order of files. With others it computes otherwise. */
  tensors(sizes: Hyperparameters): readonly ExpectedTensor[];
  /** Adds layer `index` to the graph: hidden [hiddenSize, n] in, hidden of the same shape out. */
  layer<Value>(
    graph: GraphBuilder<Value>,
    sizes: Hyperparameters,
    index: number,
    hidden: Value,
  ): Value;
}

/** A tensor as the family wants it. */
export interface ExpectedTensor {
  readonly name: string;
  /** [inputSize, outputSize] of a matrix to multiply with, or the one size of what is multiplied or added by element. */
  readonly shape: readonly number[];
  /** Whether models can do without it. */
  readonly isOptional?: boolean;
}
