import type { FamilyNumbers } from './family-numbers.js';
import type { GraphBuilder } from './graph-builder.js';

/** A model family: how the numbers of a file make a decoder. */
export interface Family {
  /** Value of `general.architecture` in GGUF. */
  readonly name: string;
  /** Optional tensors that models of this family usually have, for made-up ones. */
  readonly usually?: RegExp;
  /** Tensors that the op vocabulary would take, and models of this family do not have. */
  readonly lacks?: RegExp;
  /** @throws ModelError when a number is missing, out of its range, at odds with another, or asks for what is not supported */
  open(numbers: FamilyNumbers): Decoder;
}

/**
 * A decoder as functions over the op vocabulary. They are the only description that there is: which tensors a model has,
 * of which shapes, and what its layers keep, is found by running them (`recorder.ts`).
 */
export interface Decoder {
  /** Those that compute tokens. */
  readonly layers: number;
  /** Blocks of the file: those behind the layers guess further tokens, and are not used. */
  readonly blocks: number;
  readonly hiddenSize: number;
  readonly contextLength: number;
  /** Adds layer `index`: hidden [hiddenSize, n] in, the same out. */
  layer<Value>(graph: GraphBuilder<Value>, index: number, hidden: Value): Value;
  /** Adds norm and head: hidden [hiddenSize, n] in, [vocabulary, n] out. */
  head<Value>(graph: GraphBuilder<Value>, hidden: Value): Value;
}

/** The sizes that every decoder has. */
export type DecoderSizes = Pick<Decoder, 'layers' | 'blocks' | 'hiddenSize' | 'contextLength'>;

/** @throws ModelError */
export function readSizes(numbers: FamilyNumbers): DecoderSizes {
  const blocks = numbers.of('block_count');
  const guessing = numbers.of('nextn_predict_layers', 0);
  if (guessing >= blocks) throw numbers.atOdds(`${guessing} of ${blocks} layers guess ahead`);
  return {
    layers: blocks - guessing,
    blocks,
    hiddenSize: numbers.of('embedding_length'),
    contextLength: numbers.of('context_length'),
  };
}
