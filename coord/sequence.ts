import { greedy, type Sampling } from '../step/sampling.js';
import type { Segment } from '../step/step.js';
import { fewRows, tileRows } from '../step/tiles.js';
import { TokenText, type Mark } from '../step/token-text.js';
import { noCells, type CellRange } from './cells.js';
import { causalSegment, type CausalText } from './segments.js';
import { SequenceStates } from './sequence-states.js';
import { partsBefore, lengthOf, stretchesOf, type Prompt, type Stretch } from './stretch.js';
import type { TokenQueue } from './token-queue.js';

let lastId = 0;

/** A text, and how it was computed: all it takes to compute it again as it was, in another process too. */
export interface SavedText {
  readonly tokens: Int32Array;
  /** Leading tokens that were computed. */
  readonly computed: number;
  /** Which of these were read as prompts: tokens [first, end), ascending. */
  readonly prompts: readonly Prompt[];
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
  #prompts: readonly Prompt[] = [];
  /** Tokens of the text that were given; those behind were answered. */
  #given = 0;

  /**
   * @param cells token i of the text belongs in cell `start + i`; they change when the text moves
   * @param rewind tokens that it can lose without being computed anew
   * @param slots for states, in models whose layers keep those
   */
  constructor(
    public cells: CellRange = noCells,
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
    this.#given = lengthOf(prompts);
  }

  /** Tokens [first, end) as they go into a step that is about to be sent. @param of which rows are wanted, and why */
  segment(first: number, end: number, of: Pick<CausalText, 'choices' | 'follows'>): Segment {
    return causalSegment({
      ...of,
      sequence: this.id,
      text: this.text.tokens,
      first,
      count: end - first,
      cells: this.cells,
      sampling: this.sampling,
      state: this.states.take(first, end),
    });
  }

  /** Where computing has to begin for what follows the first `end` tokens: those before are there. */
  firstMissing(end: number): number {
    // The last token is computed in any case, as its successor is wanted.
    return this.states.before(Math.min(this.computed.at, end - 1));
  }

  /** Of the tokens that are in cells, how they were computed. */
  get stretches(): Stretch[] {
    return this.#stretchesTo(this.computed.at);
  }

  /** The same of those that were ever computed, in the cells of any route. */
  get knownStretches(): Stretch[] {
    return this.#stretchesTo(this.#knownEnd);
  }

  /** Whether the text has tokens that it was answered with. */
  get hasAnswer(): boolean {
    return this.text.certain > this.#given;
  }

  /** Another text, of which nothing is in cells. @param known how its beginning was computed, and is to be again */
  begin(tokens: Int32Array, known: readonly Stretch[]): void {
    this.text.replace(tokens);
    this.#given = tokens.length;
    this.#prompts = known.filter(({ isPrompt }) => isPrompt);
    this.#known.at = lengthOf(known);
    this.computed.at = 0;
  }

  /** Cells of tokens behind the first `tokens` are lost; what was in them is computed again as it was before. */
  lose(tokens: number): void {
    this.#known.at = this.#knownEnd;
    this.computed.at = Math.min(this.computed.at, tokens);
  }

  /** The beginning of the text is in the cells, computed like this, be it for another text that begins alike. */
  goOnFrom(stretches: readonly Stretch[]): void {
    const end = lengthOf(stretches);
    if (end > this.#knownEnd) this.#prompts = stretches.filter(({ isPrompt }) => isPrompt);
    this.#known.at = Math.max(this.#knownEnd, end);
    this.computed.at = end;
  }

  /** How the first `end` tokens were computed, and those would be that are not. */
  planned(end: number): Stretch[] {
    return stretchesOf(this.#promptsTo(this.firstMissing(end), end), 0, end);
  }

  /**
   * How tokens [first, end) are to be computed, which from then on count as begun. What is computed again is computed as
   * it was before: kernels for prompts round differently from those that decode.
   */
  compute(first: number, end: number): Stretch[] {
    this.#prompts = this.#promptsTo(first, end);
    return stretchesOf(this.#prompts, first, end);
  }

  /** What is read as a prompt when tokens [first, end) are computed. */
  #promptsTo(first: number, end: number): readonly Prompt[] {
    const known = this.#knownEnd;
    const prompts = partsBefore(this.#prompts, known);
    const last = prompts.at(-1);
    if (end - Math.max(first, known) <= fewRows) return prompts;
    if (last?.end === known && (first < known || isCutOf(last, end)))
      return prompts.with(-1, { first: last.first, end });
    return [...prompts, { first: Math.max(first, known), end }];
  }

  #stretchesTo(end: number): Stretch[] {
    return stretchesOf(partsBefore(this.#prompts, end), 0, end);
  }

  get #knownEnd(): number {
    return Math.max(this.#known.at, this.computed.at);
  }
}

/**
 * Whether a prompt that goes on to `end` gives the same bits with a cut where it ends now: at a tile of the text, with a
 * tile's rows at least on both sides.
 */
function isCutOf(prompt: Prompt, end: number): boolean {
  const isTile = prompt.end % tileRows === 0;
  return isTile && prompt.end - prompt.first >= tileRows && end - prompt.end >= tileRows;
}
