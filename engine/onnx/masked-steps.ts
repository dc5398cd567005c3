import type { Batch } from '../engine.js';
import { Binding } from './binding.js';
import { hides } from './graph/attention-node.js';
import { cacheKinds } from './graph/kv-names.js';
import { stepInput } from './graph/step-input.js';
import type { KvCache } from './kv-cache.js';
import { HostKvMemory } from './kv-memory.js';
import { fixed } from './memory.js';
import type { Session } from './session.js';
import type { StepMemory, Wanted } from './step-memory.js';

/**
 * Computes any batch, wherever its cells are and whatever its tokens see. ONNX Runtime's attention writes keys and
 * values of a step only behind those it reads, so the window is copied, the step computed behind it, and what is new
 * taken from there to its cells. That is slow; plain text takes `CausalSteps`.
 */
export class MaskedSteps implements Disposable {
  constructor(
    readonly session: Session,
    private readonly memory: StepMemory,
    private readonly kv: KvCache,
  ) {}

  /** @throws EngineError when computing fails */
  async compute(batch: Batch, wanted: Wanted): Promise<void> {
    const { tokens, windowLength, windowStart, cells, outputs } = batch;
    const count = windowLength + tokens.length;
    const copy = this.kv.emptyWith(count);
    copyCells(this.kv, copy, range(windowLength, windowStart), range(windowLength));
    using binding = new Binding(this.session);
    new HostKvMemory(copy).bind(binding, 0);
    this.memory.bind(binding, tokens.length, outputs.length, wanted);
    binding.input(stepInput.mask, maskOf(batch), [1, 1, tokens.length, count]);
    this.memory.set(batch, count);
    await binding.run();
    copyCells(copy, this.kv, range(tokens.length, windowLength), cells);
  }

  [Symbol.dispose](): void {
    this.session[Symbol.dispose]();
  }
}

function range(length: number, first = 0): Int32Array {
  return Int32Array.from({ length }, (_, i) => first + i);
}

/** f32 [n, windowLength + n]: 0 where a token sees a cell; cells that the batch writes to are seen behind the window. */
function maskOf(batch: Batch): Float32Array {
  const { cells, visible, visibleCounts, windowStart, windowLength } = batch;
  const columns = windowLength + cells.length;
  const columnOf = range(windowLength);
  cells.forEach((cell, i) => (columnOf[cell - windowStart] = windowLength + i));
  const mask = fixed.f32(cells.length * columns).fill(hides);
  let next = 0;
  visibleCounts.forEach((count, row) => {
    for (let i = 0; i < count; i++, next += 2)
      for (let cell = visible[next] as number; cell < (visible[next + 1] as number); cell++)
        mask[row * columns + (columnOf[cell - windowStart] as number)] = 0;
  });
  return mask;
}

/** Copies keys and values of cells from one cache to another one of the same layers, whose cells are others. */
function copyCells(from: KvCache, to: KvCache, cells: Int32Array, toCells: Int32Array): void {
  const { kvHeads, headSize } = from.sizes;
  for (const index of from.layers) {
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
