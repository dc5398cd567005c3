import type { Hyperparameters } from '../../model/architectures/hyperparameters.js';
import type { Shard } from '../../model/shard.js';
import type { Batch } from '../engine.js';
import type { Binding } from './binding.js';
import { stepOutput } from './graph/shard-graph.js';
import { stepInput } from './graph/step-input.js';
import type { KvStorage } from './kv-type.js';
import { fixed } from './memory.js';
import type { RopeTable } from './rope-table.js';

/** What is wanted of a step beside keys and values. */
export type Wanted = 'nothing' | 'hidden' | 'tokens' | 'logits';

/** The memory that steps are computed in: inputs and results of the largest batch. */
export class StepMemory {
  /** f32 [n, hiddenSize]: what the batch's tokens enter the shard as. */
  readonly hidden: Float32Array;
  /** f32 [n, hiddenSize]: what they leave it as, without the head. */
  readonly nextHidden: Float32Array;
  /** i64 [outputs]: the likeliest tokens, with the head. */
  readonly chosen: BigInt64Array;
  readonly #cosines: Float32Array;
  readonly #sines: Float32Array;
  readonly #rotations: BigInt64Array;
  readonly #lastCell = fixed.i32(1);
  readonly #cells = fixed.i32(1);
  readonly #calibrates = fixed.bool(1);
  readonly #outputRows: BigInt64Array;
  /** f32 [outputs, vocabulary] of the last step that wanted them. */
  #logits = fixed.f32(0);

  constructor(
    private readonly sizes: Hyperparameters,
    private readonly shard: Shard,
    private readonly rope: RopeTable,
    maxTokens: number,
    private readonly storage: KvStorage,
  ) {
    this.hidden = fixed.f32(maxTokens * sizes.hiddenSize);
    this.nextHidden = fixed.f32(shard.head ? 0 : maxTokens * sizes.hiddenSize);
    this.chosen = fixed.i64(maxTokens);
    this.#cosines = fixed.f32(maxTokens * rope.pairs);
    this.#sines = fixed.f32(maxTokens * rope.pairs);
    this.#rotations = fixed.i64(maxTokens);
    this.#rotations.forEach((_, i) => (this.#rotations[i] = BigInt(i)));
    this.#outputRows = fixed.i64(maxTokens);
  }

  get bytes(): number {
    const arrays = [this.hidden, this.nextHidden, this.#cosines, this.#sines, this.#logits];
    return arrays.reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  /** Binds everything but keys, values and a mask. @param outputs rows that the head is asked for */
  bind(binding: Binding, tokens: number, outputs: number, wanted: Wanted): void {
    const { sizes, rope } = this;
    binding.input(stepInput.hidden, this.hidden, [1, tokens, sizes.hiddenSize]);
    binding.input(stepInput.cosines, this.#cosines, [tokens, rope.pairs]);
    binding.input(stepInput.sines, this.#sines, [tokens, rope.pairs]);
    binding.input(stepInput.rotations, this.#rotations, [1, tokens]);
    binding.input(stepInput.lastCell, this.#lastCell, [1]);
    binding.input(stepInput.cells, this.#cells, []);
    if (this.storage === 'int8') binding.input(stepInput.calibrates, this.#calibrates, [1]);
    if (this.shard.head) binding.input(stepInput.outputRows, this.#outputRows, [outputs]);
    if (wanted === 'hidden')
      binding.output(stepOutput.hidden, this.nextHidden, [1, tokens, sizes.hiddenSize]);
    if (wanted === 'tokens') binding.output(stepOutput.tokens, this.chosen, [1, outputs]);
    if (wanted === 'logits')
      binding.output(stepOutput.logits, this.logits(outputs), [1, outputs, sizes.vocabulary]);
  }

  /** Sets everything but `hidden`. @param cells that keys and values are bound of, with those of the batch at their end */
  set({ positions, outputs, calibratesKv }: Batch, cells: number): void {
    this.rope.fill(positions, this.#cosines, this.#sines);
    this.#cells[0] = cells;
    this.#lastCell[0] = cells - 1;
    this.#calibrates[0] = calibratesKv ? 1 : 0;
    outputs.forEach((row, i) => (this.#outputRows[i] = BigInt(row)));
  }

  /** [outputs, vocabulary] f32: what bindings that want logits receive them in. */
  logits(outputs: number): Float32Array {
    const length = outputs * this.sizes.vocabulary;
    if (this.#logits.length < length) this.#logits = fixed.f32(length);
    return this.#logits.subarray(0, length);
  }
}
