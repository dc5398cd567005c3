import type { Layer } from '../model/architectures/layer.js';

/** Which experts of a layer rows went through. */
export interface LayerRoutings {
  readonly layer: number;
  /** Rows that went through each expert. */
  readonly counts: readonly number[];
  readonly rows: number;
  readonly steps: number;
  /** Different experts in every step, added up: those whose weights the step reads. */
  readonly distinct: number;
}

interface Counts {
  readonly counts: number[];
  rows: number;
  steps: number;
  distinct: number;
}

/** Counts which experts the rows of a stage's steps go through. */
export class RoutingCounts {
  readonly #layers = new Map<number, Counts>();

  /** @param layers of the whole model @param firstLayer of the stage @param endLayer behind its last one */
  constructor(layers: readonly Layer[], firstLayer: number, endLayer: number) {
    for (const [index, { feedForward }] of layers.entries())
      if (feedForward.kind === 'moe' && index >= firstLayer && index < endLayer)
        this.#layers.set(index, nothing(feedForward.experts));
  }

  /** Of every layer that has experts, since the last reset. */
  get layers(): LayerRoutings[] {
    return [...this.#layers].map(([layer, counted]) => ({ layer, ...counted }));
  }

  /** Counts a step. @param layer with experts @param ids [rows, chosen] of experts, row-major */
  add(layer: number, ids: Int32Array, rows: number): void {
    const counted = this.#layers.get(layer);
    if (!counted) return;
    for (const id of ids) counted.counts[id]!++;
    counted.rows += rows;
    counted.steps++;
    counted.distinct += new Set(ids).size;
  }

  reset(): void {
    for (const [layer, { counts }] of this.#layers) this.#layers.set(layer, nothing(counts.length));
  }
}

function nothing(experts: number): Counts {
  return { counts: new Array<number>(experts).fill(0), rows: 0, steps: 0, distinct: 0 };
}
