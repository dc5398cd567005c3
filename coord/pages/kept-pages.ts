import { pageCells, pagesFor } from '../../step/pages.js';
import type { Pipeline } from '../pipeline.js';
import type { Route } from '../route.js';
import type { Sequence } from '../sequence.js';
import { partsBefore, lengthOf } from '../stretch.js';
import { pageKeys } from './page-keys.js';
import { reusableOf } from './reusable.js';

export interface KeptPagesOptions {
  readonly pipeline: Pick<Pipeline, 'keep' | 'settle'>;
  /** The route in use. */
  readonly route: () => Pick<Route, 'epoch' | 'knownPages' | 'restorePages'>;
  /** All that bits depend on besides texts, on this route. */
  readonly root: () => string;
  /** Does something while no text moves, nor gets cells that another one had. */
  readonly hold: <Result>(use: () => Promise<Result>) => Promise<Result>;
}

/**
 * Pages of texts in files of all stages: full pages go there when they are computed, and what a text begins with comes from
 * there when it is not in cells. A page that is not right on one stage is as good as none.
 */
export class KeptPages {
  /** Pages of a text that somebody has looked after. */
  readonly #looked = new WeakMap<Sequence, number>();

  constructor(private readonly options: KeptPagesOptions) {}

  /** Has pages of a text kept that were computed since the last time, behind its back. */
  keep(sequence: Sequence): void {
    const pages = Math.floor(sequence.computed.at / pageCells);
    const looked = this.#looked.get(sequence) ?? 0;
    if (pages <= looked) return;
    this.#looked.set(sequence, pages);
    // A lost worker, or another route, is told of elsewhere.
    this.#keep(sequence, looked, pages).catch(() => undefined);
  }

  /** Brings what a text begins with back into its cells, which it has got; what is not there is to be computed. */
  async restore(sequence: Sequence): Promise<void> {
    this.#looked.delete(sequence);
    const { text, computed } = sequence;
    const tokens = text.tokens.slice(0, text.certain);
    const planned = sequence.planned(tokens.length);
    const first = Math.floor(computed.at / pageCells);
    const full = Math.floor((tokens.length - 1) / pageCells);
    if (full <= first) return;
    const usable = (pages: number) =>
      reusableOf({ tokens, stretches: partsBefore(planned, pages * pageCells) }, tokens, planned);
    const route = this.options.route();
    const keys = pageKeys(this.options.root(), tokens, planned, full).slice(first);
    const known = usable(first + (await orNone(route.knownPages(keys))));
    const wanted = pagesFor(lengthOf(known)) - first;
    if (lengthOf(known) <= computed.at || route.epoch !== sequence.epoch) return;
    await this.options.hold(async () => {
      const start = sequence.cells.start / pageCells;
      const pages = keys.slice(0, wanted).map((key, i) => ({ key, page: start + first + i }));
      // Steps that nobody wants any more may still write to cells that a text has got.
      await this.options.pipeline.settle(sequence.epoch);
      const there = usable(first + (await orNone(route.restorePages(pages))));
      if (lengthOf(there) > computed.at && route.epoch === sequence.epoch) sequence.goOnFrom(there);
    });
  }

  async #keep(sequence: Sequence, from: number, to: number): Promise<void> {
    const keys = this.#keysOf(sequence, to);
    const known = from + (await this.options.route().knownPages(keys.slice(from)));
    for (let i = known; i < to; i++) {
      // Meanwhile the text may have moved, or be another one.
      const key = keys[i] as string;
      const isThere = sequence.computed.at >= (i + 1) * pageCells;
      if (!isThere || this.#keysOf(sequence, i + 1)[i] !== key) return;
      const page = sequence.cells.start / pageCells + i;
      await this.options.pipeline.keep([{ key, page }], sequence.epoch);
    }
  }

  #keysOf({ text, stretches }: Sequence, pages: number): string[] {
    return pageKeys(this.options.root(), text.tokens, stretches, pages);
  }
}

/** A worker that is lost is told of elsewhere. */
function orNone(count: Promise<number>): Promise<number> {
  return count.catch(() => 0);
}
