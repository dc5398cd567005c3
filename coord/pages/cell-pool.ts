import { pageCells, pagesFor, type PageCopy } from '../../step/pages.js';
import { tileRows } from '../../step/tiles.js';
import { Sequence } from '../sequence.js';
import { lengthOf, type Stretch } from '../stretch.js';
import { admitGuests } from './admission.js';
import { CellCounter } from './cell-counter.js';
import type { Extent } from './extent.js';
import { PageTable } from './page-table.js';
import { plannedForPrompt, reusableForPrompt, reusableOf } from './reusable.js';
import { Stay, type Host } from './stay.js';
import type { CellStats, StayOptions, TextCells } from './text-cells.js';

/** What is known of another text, of which a text can begin with some. */
interface Source {
  readonly sequence: Sequence;
  readonly stretches: readonly Stretch[];
  readonly tokens: number;
}

export interface CellPoolOptions {
  readonly pages: number;
  /** Tokens that a text may have; never more than there are cells. */
  readonly context: number;
  /** Has all stages copy pages, one after the other, behind all steps that were sent and before all that follow. */
  readonly copy: (copies: readonly PageCopy[]) => void;
}

/**
 * Cells that all texts share. A text has as many pages as its tokens need. When its answer is over it is remembered until
 * others need the pages, and whatever text begins alike begins with what is known: in its place when nothing else of it
 * would be lost, otherwise with a copy.
 */
export class CellPool implements TextCells, Host {
  readonly #table: PageTable;
  /** Of all texts that have pages, or are about to have some. */
  readonly #extents = new Map<Sequence, Extent>();
  /** Sequences that begin with nothing of others, and what they may begin with: their own text before. */
  readonly #alone = new WeakMap<Sequence, Sequence | undefined>();
  readonly #guests = new Set<Stay>();
  readonly #counter = new CellCounter();
  #time = 0;
  #hasChanged = false;
  #isAdmitting = false;
  /** Who wants everything to stay where it is. */
  #holders = 0;

  constructor(private readonly options: CellPoolOptions) {
    this.#table = new PageTable(options.pages);
  }

  get mostTokens(): number {
    return Math.min(this.options.context, this.#table.pages * pageCells);
  }

  get stats(): CellStats {
    const reserved = { pages: 0, tokens: 0 };
    for (const [{ text }, { pages, idleSince }] of this.#extents) {
      if (idleSince !== undefined) continue;
      reserved.pages += pages;
      reserved.tokens += Math.min(text.certain, pages * pageCells);
    }
    return {
      cells: this.#table.pages * pageCells,
      reserved: reserved.pages * pageCells,
      used: reserved.tokens,
      remembered: (this.#table.taken - reserved.pages) * pageCells,
      ...this.#counter.counts,
    };
  }

  resetStats(): void {
    this.#counter.reset();
  }

  /** Does something while no text moves, nor gets cells; whoever needs some waits. */
  async hold<Result>(use: () => Promise<Result>): Promise<Result> {
    this.#holders++;
    try {
      return await use();
    } finally {
      this.#holders--;
      this.changed();
    }
  }

  open(): Sequence {
    return new Sequence();
  }

  clear(sequence: Sequence): void {
    this.#leaveBehind(sequence);
    sequence.begin(new Int32Array(), []);
  }

  begin(sequence: Sequence, prompt: Int32Array, { answer, isAlone = false }: StayOptions): Stay {
    const planned = plannedForPrompt(sequence, prompt);
    const before = this.#leaveBehind(sequence);
    sequence.begin(prompt, planned);
    if (isAlone) this.#alone.set(sequence, before);
    else this.#alone.delete(sequence);
    const stay = new Stay(sequence, answer, this);
    this.#guests.add(stay);
    return stay;
  }

  close(sequence: Sequence): void {
    if (sequence.computed.at === 0) this.#drop(sequence);
  }

  forget(): void {
    for (const [sequence, { idleSince }] of this.#extents)
      if (idleSince !== undefined) this.#drop(sequence);
  }

  give(sequence: Sequence, cells: number, isNew: boolean): boolean {
    if (this.#holders > 0) return false;
    const pages = pagesFor(cells);
    const extent = this.#extents.get(sequence);
    if (extent && extent.idleSince === undefined) return this.#resize(sequence, pages);
    const source = this.#bestSource(sequence, isNew);
    if (!this.#enter(sequence, pages, source)) return false;
    if (isNew) this.#counter.begun(sequence.computed.at, sequence.text.certain);
    return true;
  }

  idle(sequence: Sequence): void {
    const extent = this.#extents.get(sequence);
    if (!extent) return;
    extent.pages = Math.min(extent.pages, pagesFor(sequence.computed.at));
    extent.idleSince = ++this.#time;
    this.#settle();
  }

  changed(): void {
    this.#hasChanged = true;
    if (this.#isAdmitting || this.#holders > 0) return;
    this.#isAdmitting = true;
    while (this.#hasChanged) {
      this.#hasChanged = false;
      admitGuests(this.#guests);
    }
    this.#isAdmitting = false;
  }

  dismissed(): void {
    this.#counter.counts.preemptions++;
  }

  gone(stay: Stay): void {
    this.#guests.delete(stay);
  }

  #enter(sequence: Sequence, pages: number, source: Source | undefined): boolean {
    if (!source) return this.#resize(sequence, pages);
    this.#drop(sequence);
    const rest = source.sequence.computed.at - source.tokens;
    const isIdle = this.#extents.get(source.sequence)?.idleSince !== undefined;
    if (isIdle && rest <= tileRows) this.#takeOver(sequence, source);
    else if (this.#copyFrom(sequence, pages, source)) return true;
    else if (isIdle) this.#takeOver(sequence, source);
    return this.#resize(sequence, pages);
  }

  /** The text goes on in the place of another. */
  #takeOver(sequence: Sequence, { sequence: other, stretches }: Source): void {
    this.#extents.set(sequence, this.#extents.get(other) as Extent);
    this.#extents.delete(other);
    other.lose(0);
    sequence.goOnFrom(stretches);
  }

  #copyFrom(sequence: Sequence, pages: number, source: Source): boolean {
    const { stretches, tokens } = source;
    const from = this.#extents.get(source.sequence) as Extent;
    const wasIdle = from.idleSince !== undefined;
    from.idleSince = undefined;
    const hasRoom = this.#resize(sequence, pages);
    if (wasIdle) from.idleSince = ++this.#time;
    if (!hasRoom) return false;
    const to = this.#extents.get(sequence) as Extent;
    this.#copy([{ from: from.start, to: to.start, count: pagesFor(tokens) }]);
    sequence.goOnFrom(stretches);
    return true;
  }

  /** The text is in use from now on, if it gets so many pages. */
  #resize(sequence: Sequence, pages: number): boolean {
    const extent = this.#extents.get(sequence) ?? { start: 0, pages: 0, idleSince: undefined };
    const { idleSince } = extent;
    extent.idleSince = undefined;
    const copies = this.#table.resize(extent, pages);
    if (copies) this.#extents.set(sequence, extent);
    else extent.idleSince = idleSince;
    this.#copy(copies ?? []);
    this.#settle();
    return copies !== undefined;
  }

  /** The text that most can be taken of, if it is more than the sequence has itself, which goes back to where it can go on. */
  #bestSource(sequence: Sequence, isNew: boolean): Source | undefined {
    const { tokens, certain } = sequence.text;
    const text = tokens.subarray(0, certain);
    const isFree = isNew && sequence.knownStretches.length === 0;
    const planned = isFree ? [] : sequence.planned(certain);
    const reusable = ({ text: { tokens: known }, stretches }: Sequence) =>
      isFree
        ? reusableForPrompt({ tokens: known, stretches }, text)
        : reusableOf({ tokens: known, stretches }, text, planned);
    sequence.lose(lengthOf(reusable(sequence)));
    let best: Source | undefined;
    let most = sequence.computed.at;
    for (const other of this.#extents.keys()) {
      if (other === sequence || other.epoch !== sequence.epoch) continue;
      if (this.#alone.has(sequence) && this.#alone.get(sequence) !== other) continue;
      const stretches = reusable(other);
      const there = lengthOf(stretches);
      if (there > most) best = { sequence: other, stretches, tokens: (most = there) };
    }
    return best;
  }

  /** What is in the cells of a sequence that gets another text stays known. @returns whose it is now */
  #leaveBehind(sequence: Sequence): Sequence | undefined {
    const { text, stretches, computed, epoch, cells } = sequence;
    const extent = this.#extents.get(sequence);
    if (!extent || computed.at === 0) {
      this.#drop(sequence);
      return undefined;
    }
    const left = new Sequence(cells);
    left.enter(epoch);
    left.text.replace(text.tokens.slice(0, computed.at));
    left.goOnFrom(stretches);
    this.#extents.delete(sequence);
    this.#extents.set(left, extent);
    return left;
  }

  #drop(sequence: Sequence): void {
    const extent = this.#extents.get(sequence);
    if (extent) this.#table.release(extent);
    this.#settle();
  }

  #copy(copies: readonly PageCopy[]): void {
    if (copies.length === 0) return;
    this.#counter.copied(copies);
    this.options.copy(copies);
  }

  /** Texts are where the table says, and know no more than they have pages for. */
  #settle(): void {
    this.#table.settle();
    for (const [sequence, extent] of this.#extents) {
      const cells = extent.pages * pageCells;
      sequence.cells = { start: extent.start * pageCells, length: cells };
      if (cells < sequence.computed.at) sequence.lose(cells);
      if (extent.pages === 0) this.#extents.delete(sequence);
    }
  }
}
