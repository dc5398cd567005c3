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
  /** Hex digest of the data, where the source makes sure of it. */
  readonly sha256?: string;
}

/**
 * Where weights come from: a GGUF file, a shard received from the coordinator, or synthetic values.
 * Nothing is read before it is asked for, so a stage touches only the bytes of its own shard.
 */
export interface TensorSource {
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /**
   * Hex digest of the metadata, the table of tensors, and samples of every tensor's data. It is the same for the same
   * model on every machine, however it is split into files, so that two machines can tell whether they hold the same
   * model. It does not vouch for every byte: data that was damaged between the samples goes unnoticed.
   */
  readonly fingerprint: string;
  /**
   * Hex digest by which to keep on this machine what was made of the data, such as its hashes or packed matrices. While
   * it is the same, so is all of the data: beside what the fingerprint says it depends on the sizes of files and the
   * times when they were written. Of no meaning elsewhere.
   */
  readonly contentKey: string;
  /**
   * Reads bytes [offset, offset + into.byteLength) of a tensor's data.
   * @throws ModelError when the tensor is unknown, the range is not within it, or the source is closed
   */
  read(name: string, offset: number, into: Uint8Array): Promise<void>;
  /** Can be called more than once. */
  close(): Promise<void>;
}
