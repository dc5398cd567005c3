import type { UniformSizes } from '../uniform-sizes.js';
import type { Segment } from '../../../step/step.js';
import type { HeadDemand } from '../../sampling/step-results.js';
import { hides } from '../graph/attention-node.js';
import type { AttentionForm } from '../graph/attention-form.js';
import { stepInput } from '../graph/input-names.js';
import { cacheKinds } from '../graph/kv-names.js';
import type { HostKv } from '../kv/host-kv.js';
import { fixed } from '../runtime/fixed-arrays.js';
import { IoBinding } from '../runtime/io-binding.js';
import type { Session } from '../runtime/session.js';
import type { AbortableRuns } from './abortable-runs.js';
import { PlaceInputs } from './place-inputs.js';
import type { Run } from './runs.js';
import type { StepBuffers } from './step-buffers.js';

/**
 * A graph for any segment, wherever its cells are and whatever its rows see. ONNX Runtime's attention writes keys and
 * values of a step only behind those it reads, so the window is copied, the segment computed behind it, and what is new
 * taken from there to its cells. That is slow; plain text takes `CausalGraph`.
 */
export class MaskedGraph {
  readonly #places: PlaceInputs;

  /** @param session of a graph of this form */
  constructor(
    private readonly session: Session,
    form: AttentionForm,
    sizes: UniformSizes,
    private readonly buffers: StepBuffers,
    private readonly kv: HostKv,
  ) {
    this.#places = new PlaceInputs(form, sizes);
  }

  /**
   * Computes a run of one segment whose hidden states are in the buffers.
   * @throws EngineError 'compute' when it fails or is given up
   */
  async compute(run: Run, demand: HeadDemand, runs: AbortableRuns): Promise<void> {
    for (const segment of run.segments) await this.#computeSegment(segment, demand, runs);
  }

  async #computeSegment(segment: Segment, demand: HeadDemand, runs: AbortableRuns): Promise<void> {
    const { cells, visible } = segment;
    const { windowStart, windowLength } = visible;
    const computed = this.buffers.padded(cells.length);
    const columns = windowLength + computed;
    const copy = this.kv.emptyWith(columns);
    copyCells(this.kv, copy, range(windowLength, windowStart), range(windowLength));
    this.buffers.set([segment], demand);
    this.#places.set([{ rows: cells.length, seen: columns }], false);
    using binding = new IoBinding(this.session);
    copy.bind(binding, [0]);
    this.#places.bind(binding);
    this.buffers.bind(binding, cells.length, demand);
    binding.input(stepInput.mask, maskOf(segment, computed), [1, 1, computed, columns]);
    await runs.run(binding);
    copyCells(copy, this.kv, range(cells.length, windowLength), cells);
  }
}

function range(length: number, first = 0): Int32Array {
  return Int32Array.from({ length }, (_, i) => first + i);
}

/**
 * f32 [rows, windowLength + rows]: 0 where a row sees a cell; cells that the segment writes to are seen behind the
 * window. Rows beyond the segment's are copies of its first one, and see what that sees.
 */
function maskOf({ cells, visible }: Segment, rows: number): Float32Array {
  const { counts, ranges, windowStart, windowLength } = visible;
  const columns = windowLength + rows;
  const columnOf = range(windowLength);
  cells.forEach((cell, i) => (columnOf[cell - windowStart] = windowLength + i));
  const mask = fixed.f32(rows * columns).fill(hides);
  let next = 0;
  counts.forEach((count, row) => {
    for (let i = 0; i < count; i++, next += 2)
      for (let cell = ranges[next] as number; cell < (ranges[next + 1] as number); cell++)
        mask[row * columns + (columnOf[cell - windowStart] as number)] = 0;
  });
  for (let row = cells.length; row < rows; row++) mask.copyWithin(row * columns, 0, columns);
  return mask;
}

/** Copies keys and values of cells to those of the same layers elsewhere. */
function copyCells(from: HostKv, to: HostKv, cells: Int32Array, toCells: Int32Array): void {
  for (const [index, { kvHeads, headSize }] of from.heads) {
    const source = from.layer(index);
    const target = to.layer(index);
    for (const kind of cacheKinds)
      for (let head = 0; head < kvHeads; head++)
        cells.forEach((cell, j) => {
          const at = (head * from.cells + cell) * headSize;
          target[kind].numbers.set(
            source[kind].numbers.subarray(at, at + headSize),
            (head * to.cells + (toCells[j] as number)) * headSize,
          );
        });
  }
}
