import type { UniformSizes } from '../uniform-sizes.js';
import type { Shard } from '../../../step/shard.js';
import type { Segment } from '../../../step/step.js';
import type { HeadDemand, HeadResults } from '../../sampling/step-results.js';
import { stepInput } from '../graph/input-names.js';
import { stepOutput } from '../graph/shard-graph.js';
import { fixed } from '../runtime/fixed-arrays.js';
import type { IoBinding } from '../runtime/io-binding.js';
import type { RopeTable } from './rope-table.js';

/** The memory that steps are computed in: inputs and results of the largest, whatever the graph. */
export class StepBuffers implements HeadResults {
  readonly #hidden: Float32Array;
  readonly #nextHidden: Float32Array;
  readonly #cosines: Float32Array;
  readonly #sines: Float32Array;
  readonly #rotations: BigInt64Array;
  readonly #outputRows: BigInt64Array;
  readonly #likeliest: BigInt64Array;
  /** f32 [rows, vocabulary] of the last run that wanted them. */
  #logits = fixed.f32(0);
  #logitsMoves = 0;

  /** @param leastRows a step with fewer is computed with copies of its first one */
  constructor(
    private readonly sizes: UniformSizes,
    private readonly shard: Shard,
    private readonly rope: RopeTable,
    maxRows: number,
    private readonly leastRows: number,
  ) {
    const rows = Math.max(maxRows, leastRows);
    this.#hidden = fixed.f32(rows * sizes.hiddenSize);
    this.#nextHidden = fixed.f32(shard.head ? 0 : rows * sizes.hiddenSize);
    this.#cosines = fixed.f32(rows * rope.pairs);
    this.#sines = fixed.f32(rows * rope.pairs);
    this.#rotations = fixed.i64(rows);
    this.#rotations.forEach((_, i) => (this.#rotations[i] = BigInt(i)));
    this.#outputRows = fixed.i64(rows);
    this.#likeliest = fixed.i64(rows);
  }

  get bytes(): number {
    const arrays = [this.#hidden, this.#nextHidden, this.#cosines, this.#sines, this.#logits];
    return arrays.reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  /** Rows that are computed for so many. */
  padded(rows: number): number {
    return rows === 0 ? 0 : Math.max(rows, this.leastRows);
  }

  /** f32 [rows, hiddenSize]: what rows enter the shard as. */
  hidden(rows: number): Float32Array {
    return this.#hidden.subarray(0, rows * this.sizes.hiddenSize);
  }

  /** f32 [rows, hiddenSize]: what they leave it as, without the head. */
  nextHidden(rows: number): Float32Array {
    return this.#nextHidden.subarray(0, rows * this.sizes.hiddenSize);
  }

  /** What tells bindings apart that `bind` makes. */
  bindingKey(rows: number, { rows: { length }, likeliest, logits }: HeadDemand): string {
    return `${rows} ${length} ${likeliest} ${logits ? this.#logitsMoves : ''}`;
  }

  /** Binds everything but what belongs to segments. */
  bind(binding: IoBinding, rows: number, demand: HeadDemand): void {
    const { hiddenSize, vocabulary } = this.sizes;
    const { pairs } = this.rope;
    const n = this.padded(rows);
    binding.input(stepInput.hidden, this.#hidden, [1, n, hiddenSize]);
    binding.input(stepInput.cosines, this.#cosines, [n, pairs]);
    binding.input(stepInput.sines, this.#sines, [n, pairs]);
    binding.input(stepInput.rotations, this.#rotations, [1, n]);
    if (!this.shard.head) {
      binding.output(stepOutput.hidden, this.#nextHidden, [1, n, hiddenSize]);
      return;
    }
    const outputs = this.padded(demand.rows.length);
    binding.input(stepInput.outputRows, this.#outputRows, [outputs]);
    if (demand.likeliest) binding.output(stepOutput.tokens, this.#likeliest, [1, outputs]);
    if (demand.logits) binding.output(stepOutput.logits, this.#logits, [1, outputs, vocabulary]);
  }

  /** Sets everything but `hidden` for the rows of segments, one after the other, and the copies. */
  set(segments: readonly Segment[], demand: HeadDemand): void {
    const { pairs } = this.rope;
    if (demand.logits) this.#reserveLogits(demand.rows.length);
    let row = 0;
    for (const { positions } of segments) {
      const [from, to] = [row * pairs, (row + positions.length) * pairs];
      this.rope.fill(positions, this.#cosines.subarray(from, to), this.#sines.subarray(from, to));
      row += positions.length;
    }
    demand.rows.forEach((outputRow, i) => (this.#outputRows[i] = BigInt(outputRow)));
    this.#copyFirst(this.#hidden, this.sizes.hiddenSize, row);
    this.#copyFirst(this.#cosines, pairs, row);
    this.#copyFirst(this.#sines, pairs, row);
    this.#outputRows.fill(
      this.#outputRows[0] ?? 0n,
      demand.rows.length,
      this.padded(demand.rows.length),
    );
  }

  likeliest(index: number): number {
    return Number(this.#likeliest[index]);
  }

  logits(index: number): Float32Array {
    const { vocabulary } = this.sizes;
    return this.#logits.subarray(index * vocabulary, (index + 1) * vocabulary);
  }

  #reserveLogits(rows: number): void {
    const length = this.padded(rows) * this.sizes.vocabulary;
    if (this.#logits.length >= length) return;
    this.#logits = fixed.f32(length);
    this.#logitsMoves++;
  }

  #copyFirst(array: Float32Array, width: number, rows: number): void {
    for (let row = rows; row < this.leastRows; row++) array.copyWithin(row * width, 0, width);
  }
}
