import { pageCells, pagesFor, type PageCopy } from '../../step/pages.js';
import type { Segment } from '../../step/step.js';
import type { StagePages } from '../engine.js';
import type { KvCache } from './attention/kv-cache.js';
import type { Backend } from './backend.js';
import type { Ggml, Pointer } from './bindings.js';
import { unsupportedOp } from './devices.js';
import { SmallGraph } from './small-graph.js';

/** Moves keys and values in whole pages, of all layers: within the cache, out of it, and back. */
export class GgmlPages implements StagePages {
  /** By page. The last may be a part of one, which only windows reach that are longer than what is seen. */
  readonly #isWritten: Uint8Array;
  /** @param bytes of a page */
  private constructor(
    private readonly ggml: Ggml,
    private readonly backend: Backend,
    private readonly kv: KvCache,
    readonly bytes: number,
  ) {
    this.#isWritten = new Uint8Array(kv.tensors === 0 ? 0 : Math.ceil(kv.cells / pageCells));
  }

  /**
   * @param cells of the stage
   * @returns undefined where there is no page, its cells share places, or the device cannot copy what is kept in them
   * @throws EngineError 'memory'
   */
  static of(ggml: Ggml, backend: Backend, kv: KvCache, cells: number): GgmlPages | undefined {
    if (!kv.movesCells || cells < pageCells) return undefined;
    if (kv.tensors === 0) return new GgmlPages(ggml, backend, kv, 0);
    let bytes = 0;
    using trial = new SmallGraph(
      ggml,
      backend.device,
      (context, graph) => {
        const views = kv.cellsOf(context, { windowStart: 0, windowLength: pageCells });
        const copies = views.map((view) => ggml.contiguous(context, view));
        bytes = copies.reduce((sum, copy) => sum + ggml.tensorBytes(copy), 0);
        const back = copies.map((copy, i) => ggml.copy(context, copy, views[i]!));
        for (const copy of back) ggml.expand(graph, copy);
        return { input: copies[0]!, result: back.at(-1)! };
      },
      8 * kv.tensors,
    );
    if (unsupportedOp(ggml, backend.device, trial.graph) !== undefined) return undefined;
    return new GgmlPages(ggml, backend, kv, bytes);
  }

  /**
   * Clears pages that attention is about to look at for the first time: it multiplies masked cells by zero, so they must
   * be finite. To clear them all when a stage is loaded would take long, and all of their memory.
   * @throws EngineError 'compute', 'memory'
   */
  async clearNew(segments: readonly Segment[]): Promise<void> {
    for (const { visible } of segments) {
      const first = Math.floor(visible.windowStart / pageCells);
      // Windows are rounded up to steps, of which none is longer than a page.
      const end = pagesFor(visible.windowStart + pagesFor(visible.windowLength) * pageCells);
      for (let page = first; page < Math.min(end, this.#isWritten.length); page++)
        if (this.#isWritten[page] === 0) await this.#clear(page);
    }
  }

  /** @throws EngineError 'compute', 'memory' */
  async copy(copies: readonly PageCopy[]): Promise<void> {
    if (this.kv.tensors === 0) return;
    for (const { from, to, count } of copies) {
      using graph = this.#graph((context) => {
        const into = this.#pages(context, to, count);
        return this.#pages(context, from, count).map((source, i) =>
          this.ggml.copy(context, source, into[i]!),
        );
      });
      await this.backend.compute(graph.graph);
      this.#isWritten.fill(1, to, to + count);
    }
  }

  /** @returns [bytes] @throws EngineError 'compute', 'memory' */
  async read(page: number): Promise<Uint8Array> {
    const content = new Uint8Array(this.bytes);
    if (this.kv.tensors === 0) return content;
    const { ggml, backend } = this;
    let copies: readonly Pointer[] = [];
    using graph = this.#graph((context) => {
      copies = this.#pages(context, page, 1).map((view) => ggml.contiguous(context, view));
      for (const copy of copies) ggml.setOutput(copy);
      return copies;
    });
    await backend.compute(graph.graph);
    this.#transfer(copies, content, ggml.tensorGet);
    return content;
  }

  /** @param content as `read` gives it @throws EngineError 'compute', 'memory' */
  write(page: number, content: Uint8Array): Promise<void> {
    return this.#fill(page, (inputs) => this.#transfer(inputs, content, this.ggml.tensorSet));
  }

  #clear(page: number): Promise<void> {
    const { ggml } = this;
    return this.#fill(page, (inputs) => {
      for (const input of inputs) ggml.tensorFill(input, 0, 0, ggml.tensorBytes(input));
    });
  }

  /** @param set gives a page's worth of every tensor its content */
  async #fill(page: number, set: (inputs: readonly Pointer[]) => void): Promise<void> {
    if (this.kv.tensors === 0) return;
    const { ggml, backend } = this;
    let inputs: readonly Pointer[] = [];
    using graph = this.#graph((context) => {
      const views = this.#pages(context, page, 1);
      inputs = views.map((view) => ggml.alike(context, view));
      for (const input of inputs) ggml.setInput(input);
      return inputs.map((input, i) => ggml.copy(context, input, views[i]!));
    });
    set(inputs);
    await backend.compute(graph.graph);
    this.#isWritten[page] = 1;
  }

  /** @param build makes all that is to be computed @throws EngineError 'memory' */
  #graph(build: (context: Pointer) => readonly Pointer[]): SmallGraph {
    const { ggml, backend, kv } = this;
    return new SmallGraph(
      ggml,
      backend.device,
      (context, graph) => {
        const results = build(context);
        for (const result of results) ggml.expand(graph, result);
        return { input: results[0]!, result: results.at(-1)! };
      },
      8 * kv.tensors,
    );
  }

  #pages(context: Pointer, first: number, count: number): Pointer[] {
    const windowStart = first * pageCells;
    const windowLength = Math.min(count * pageCells, this.kv.cells - windowStart);
    return this.kv.cellsOf(context, { windowStart, windowLength });
  }

  #transfer(
    tensors: readonly Pointer[],
    content: Uint8Array,
    move: (tensor: Pointer, part: Uint8Array, offset: number, length: number) => void,
  ): void {
    let offset = 0;
    for (const tensor of tensors) {
      const length = this.ggml.tensorBytes(tensor);
      move(tensor, content.subarray(offset, offset + length), 0, length);
      offset += length;
    }
  }
}
