import type { TensorType } from './gguf/tensor-types.js';

/** A value of GGUF metadata. 64-bit integers are numbers where they are safe integers, else bigint. */
export type MetadataValue = number | bigint | boolean | string | MetadataValue[];

/** One tensor of a model: what a stage must know to place and fill it. */
export interface TensorInfo {
  readonly name: string;
  readonly type: TensorType;
  /** Dimensions in ggml's order, the fastest first: a matrix for `linear` is [inputSize, outputSize]. */
  readonly shape: readonly number[];
  /** Size of the data in bytes. */
  readonly bytes: number;
}

/**
 * Where weights come from: a GGUF file, a shard received from the coordinator, or synthetic values.
 * Nothing is read before it is asked for, so a stage touches only the bytes of its own shard.
 */
export interface TensorSource {
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Hex digest that is equal for equal models, and differs when weights, vocabulary or shape differ. */
  readonly fingerprint: string;
  /**
   * Reads bytes [offset, offset + into.byteLength) of a tensor's data.
   * @throws ModelError when the tensor is unknown or the range is not within it.
   */
  read(name: string, offset: number, into: Uint8Array): Promise<void>;
  close(): Promise<void>;
}
