import { greedy, type Sampling } from '../step/sampling.js';
import { fewRows } from '../step/tiles.js';
import { TokenText, type Mark } from '../step/token-text.js';
import type { CellRange } from './cells.js';
import { SequenceStates } from './sequence-states.js';
import type { TokenQueue } from './token-queue.js';

let lastId = 0;

/** Tokens [first, end) of a text that are to be computed in one way. */
export interface Stretch {
  readonly first: number;
  readonly end: number;
  /** Read as a prompt, in large steps; or decoded, in steps of at most `fewRows`. */
  readonly isPrompt: boolean;
}

/** A text, and how it was computed: all it takes to compute it again as it was, in another process too. */
export interface SavedText {
  readonly tokens: Int32Array;
  /** Leading tokens that were computed. */
  readonly computed: number;
  /** Which of these were read as prompts: tokens [first, end), ascending. */
  readonly prompts: readonly Omit<Stretch, 'isPrompt'>[];
}

/** One text on its way through the stages: its tokens, its cells, how it is sampled, and where its tokens go. */
export class Sequence {
  /** 1 to 2^32 - 1; names it in steps. */
  readonly id = (lastId = (lastId % 0xffff_ffff) + 1);
  readonly text = new TokenText();
  /** Leading tokens whose keys and values are in the cells of the route. */
  readonly computed: Mark;
  readonly states: SequenceStates;
  sampling: Sampling = greedy;
  /** Takes the tokens that are generated; undefined while none are. */
  output: TokenQueue | undefined;
  #epoch = 0;
  /** Leading tokens that have been computed on any route. */
  readonly #known: Mark = this.text.mark();
  /** Parts of the text that were read as prompts, ascending. */
  #prompts: readonly Omit<Stretch, 'isPrompt'>[] = [];

  /**
   * @param cells token i of the text belongs in cell `start + i`
   * @param rewind tokens that it can lose without being computed anew
   * @param slots for states, in models whose layers keep those
   */
  constructor(
    readonly cells: CellRange,
    { rewind, slots = [] }: { rewind?: number | undefined; slots?: readonly number[] } = {},
  ) {
    this.computed = this.text.mark(rewind);
    this.states = new SequenceStates(this.text, slots);
  }

  /** The route that holds its keys and values. */
  get epoch(): number {
    return this.#epoch;
  }

  /** A route is about to compute. On another one than before, nothing is in the cells. */
  enter(epoch: number): void {
    if (epoch !== this.#epoch) {
      this.#known.at = this.#knownEnd;
      this.computed.at = 0;
      this.states.forget();
    }
    this.#epoch = epoch;
  }

  /** The text as far as it is certain. */
  get saved(): SavedText {
    const tokens = this.text.tokens.slice(0, this.text.certain);
    return { tokens, computed: this.#knownEnd, prompts: this.#prompts };
  }

  /** Begins with a text that was saved: it is computed again as it was then. */
  resume({ tokens, computed, prompts }: SavedText): void {
    this.text.replace(tokens);
    this.computed.at = 0;
    this.states.forget();
    this.#known.at = Math.min(computed, tokens.length);
    this.#prompts = prompts;
  }

  /** Where computing has to begin for what follows the first `end` tokens: those before are there. */
  firstMissing(end: number): number {
    // The last token is computed in any case, as its successor is wanted.
    return this.states.before(Math.min(this.computed.at, end - 1));
  }

  /**
   * How tokens [first, end) are to be computed, which from then on count as begun. What is computed again is computed as
   * it was before: kernels for prompts round differently from those that decode.
   */
  compute(first: number, end: number): Stretch[] {
    const known = this.#knownEnd;
    this.#prompts = this.#prompts
      .filter((prompt) => prompt.first < known)
      .map((prompt) => ({ ...prompt, end: Math.min(prompt.end, known) }));
    const isNew = end - Math.max(first, known) > fewRows;
    const last = this.#prompts.at(-1);
    // A prompt that is read again from where a state was kept goes on in what is new.
    const goesOn = isNew && first < known && last?.end === known;
    if (goesOn) this.#prompts = this.#prompts.with(-1, { first: last.first, end });
    else if (isNew) this.#prompts = [...this.#prompts, { first: Math.max(first, known), end }];
    const stretches: Stretch[] = [];
    let at = first;
    const add = (to: number, isPrompt: boolean) => {
      if (to > at) stretches.push({ first: at, end: to, isPrompt });
      at = Math.max(at, to);
    };
    for (const prompt of this.#prompts) {
      add(Math.min(prompt.first, end), false);
      add(Math.min(prompt.end, end), true);
    }
    add(end, false);
    return stretches;
  }

  get #knownEnd(): number {
    return Math.max(this.#known.at, this.computed.at);
  }
}
