import type { StageCosts } from '../speculative/cost-model.js';
import type { Segment, StateSlots } from '../step/step.js';
import { fewRows } from '../step/tiles.js';
import type { FairOrder, Terms, Ticket } from './fair-order.js';
import { promptChunks, shortChunks } from './prompt-chunks.js';
import type { StepKind, Waiting } from './scheduler.js';
import type { Sequence } from './sequence.js';
import type { Stretch } from './stretch.js';

/** What parts of texts depend on. */
export interface PartLimits {
  /** Most tokens in a step. */
  readonly chunkTokens: number;
  /** What steps cost on every stage with layers. */
  readonly stageCosts: () => readonly StageCosts[];
}

/** A part of the text that is on its way. */
export interface Part {
  readonly segment: Segment;
  readonly end: number;
  readonly state: StateSlots | undefined;
  /** Id of its step, once it has one. */
  step: number;
  /** The choice after it, when it is back. */
  choice?: number | undefined;
  isBack: boolean;
}

/**
 * A sequence that waits for the token behind its text: what of the text is not in cells yet is sent in parts that
 * follow each other through the stages, all of a new prompt, one row while the text is decoded.
 */
export class TokenRequest implements Waiting {
  readonly token: Promise<number>;
  /** Whether all but the last token were in cells when it was made. */
  readonly isDecoding: boolean;
  readonly begin = performance.now();
  readonly #end: number;
  #sent: number;
  readonly #stretches: readonly Stretch[];
  readonly #order: FairOrder;
  readonly #ticket: Ticket;
  /** Where the parts end that are sent next, and whether those are short. */
  #ends: number[] = [];
  #isShort: boolean | undefined;
  readonly #inFlight: Part[] = [];
  #resolve!: (token: number) => void;
  #reject!: (error: Error) => void;

  /** @param orders of those who wait for each kind of step */
  constructor(
    readonly sequence: Sequence,
    private readonly limits: PartLimits,
    orders: Readonly<Record<StepKind, FairOrder>>,
    terms: Terms,
  ) {
    this.token = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#end = sequence.text.certain;
    this.#sent = sequence.firstMissing(this.#end);
    this.#stretches = sequence.compute(this.#sent, this.#end);
    this.isDecoding = this.#left === 1;
    this.#order = orders[this.isDecoding ? 'token' : 'text'];
    this.#ticket = this.#order.enter(this.#left, terms);
  }

  get due(): number {
    return this.#ticket.due;
  }

  /** Whether a part of it was sent. */
  get hasBegun(): boolean {
    return this.#isShort !== undefined;
  }

  /** Parts on their way, in the order of the text. */
  get inFlight(): readonly Part[] {
    return this.#inFlight;
  }

  /** What has to be computed next, unless everything is on its way. */
  get wants(): StepKind | undefined {
    if (this.#left === 0) return undefined;
    return this.#left === 1 && this.#inFlight.length === 0 ? 'token' : 'text';
  }

  /** The next part, which from now on is on its way. @param isShort whether others wait for it */
  take(isShort: boolean): Part {
    const { sequence } = this;
    const first = this.#sent;
    const end = this.#nextEnd(isShort);
    const segment = sequence.segment(first, end, {
      choices: end === this.#end ? 'last' : 'none',
    });
    const part = { segment, end, state: segment.state, step: 0, isBack: false };
    this.#inFlight.push(part);
    this.#sent = end;
    this.#order.served(this.#ticket, this.#left);
    return part;
  }

  /** A part has passed all stages. @param choice after it, if it was wanted @returns whether the token is there */
  passed(part: Part, choice: number | undefined): boolean {
    part.isBack = true;
    part.choice = choice;
    const { computed, states } = this.sequence;
    for (let first = this.#inFlight[0]; first?.isBack; first = this.#inFlight[0]) {
      this.#inFlight.shift();
      computed.at = Math.max(computed.at, first.end);
      states.passed(first.end, first.state);
      if (first.end < this.#end) continue;
      this.#resolve(first.choice as number);
      return true;
    }
    return false;
  }

  /** There will be no token. */
  fail(error: Error): void {
    this.sequence.states.giveUp();
    this.#reject(error);
  }

  /** Rows that have not been sent. */
  get #left(): number {
    return this.#end - this.#sent;
  }

  /** Parts are planned together, and anew when what is around them changes. */
  #nextEnd(isShort: boolean): number {
    if (isShort !== this.#isShort) {
      this.#isShort = isShort;
      this.#ends = this.#stretches
        .filter(({ end }) => end > this.#sent)
        .flatMap((stretch) =>
          this.#endsOf({ ...stretch, first: Math.max(stretch.first, this.#sent) }),
        );
    }
    return this.#ends.shift() as number;
  }

  #endsOf({ first, end, isPrompt }: Stretch): readonly number[] {
    const { chunkTokens, stageCosts } = this.limits;
    if (isPrompt) {
      const cut = this.#isShort ? shortChunks : promptChunks;
      return cut({ first, end }, stageCosts(), chunkTokens);
    }
    const most = Math.min(fewRows, chunkTokens);
    const steps = Math.ceil((end - first) / most);
    return Array.from({ length: steps }, (_, i) => Math.min(end, first + (i + 1) * most));
  }
}
