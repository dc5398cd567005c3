import type { TokenText } from '../step/token-text.js';
import { plainSchedule, stepSize, type Schedule } from './schedule.js';

/** A step to submit: the tokens at positions [first, first + count) of the text, a choice wanted for each. */
export interface VerificationStep {
  readonly id: number;
  readonly first: number;
  readonly count: number;
  /** The step before it, whose last choice its first token guesses; 0 when that token is certain. */
  readonly follows: number;
}

/** Drafts to ask for: tokens that continue the text as it is now. */
export interface DraftRequest {
  readonly count: number;
  /** Tokens of the text that the drafts continue. */
  readonly after: number;
  /** Which guesses they build on: drafts of a branch that turned out wrong are not taken. */
  readonly branch: number;
}

/** What a result settles. */
export interface Verdict {
  /** Tokens that are certain now, in order. */
  readonly tokens: readonly number[];
  /** Steps that have become useless and are to be cancelled, in the order they were submitted in. */
  readonly cancelled: readonly number[];
}

export interface ControllerOptions {
  /** All tokens of it are certain, and all but the last in KV cells already. The controller adds to it. */
  readonly text: TokenText;
  /** Most tokens to add to them. */
  readonly maxTokens: number;
  /** KV cells: positions beyond are not computed. */
  readonly cells: number;
  /** Most tokens in a step. */
  readonly maxStepTokens: number;
  /** Whether a token ends the text. */
  readonly isEnd: (token: number) => boolean;
  /** What to do now; asked whenever a step or drafts could be wanted. */
  readonly schedule: () => Schedule;
  /** Told of every draft that was judged. */
  readonly onJudged?: (accepted: boolean) => void;
}

interface Flight extends VerificationStep {
  choices?: ArrayLike<number>;
}

/** In `off` mode, one token in so many is guessed, only to learn whether guessing would pay. */
const probeInterval = 16;

/**
 * Speculative decoding of one text as a state machine: it says which steps to submit and which drafts to get, is told
 * what comes of them, and says which tokens are certain. It knows neither sockets nor clocks, and works for any order and
 * delay of results. Whatever drafts say, the tokens are the target's own choices, each made after the right tokens.
 */
export class SpeculationController {
  readonly #text: TokenText;
  /** Tokens [0, sent) have been submitted. */
  #sent: number;
  readonly #inFlight: Flight[] = [];
  #lastId = 0;
  /** Counts wrong guesses: drafts that build on one are discarded. */
  #branch = 0;
  #stepsSinceWrong = 0;
  /** Length of the text for which the drafts' source had nothing more to say. */
  #exhaustedAt = -1;
  #canDraft = true;
  #ended = false;
  #sinceProbe = 0;
  readonly #end: number;
  #accepted = 0;
  #judged = 0;
  #cancelledSteps = 0;

  constructor(private readonly options: ControllerOptions) {
    this.#text = options.text;
    this.#sent = this.#text.certain - 1;
    this.#end = this.#text.certain + options.maxTokens;
    this.#ended = options.maxTokens <= 0 || this.#sent >= options.cells;
  }

  /** Whether nothing more is to be submitted: the text has ended, is long enough, or fills its cells. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Leading tokens whose keys and values are in their cells for good. */
  get computed(): number {
    return Math.min(this.#inFlight[0]?.first ?? this.#sent, this.#text.certain);
  }

  /** Drafts judged, those that were right, and steps that were cancelled. */
  get counts(): {
    readonly drafted: number;
    readonly accepted: number;
    readonly cancelledSteps: number;
  } {
    return {
      drafted: this.#judged,
      accepted: this.#accepted,
      cancelledSteps: this.#cancelledSteps,
    };
  }

  /** The next step to submit now, if any; call it until there is none. */
  takeStep(): VerificationStep | undefined {
    const schedule = this.#schedule;
    if (this.#ended || this.#inFlight.length >= schedule.window) return undefined;
    const size = this.#nextSize(schedule);
    const available = this.#available;
    if (available === 0 || (available < size && this.#mayDraft(schedule))) return undefined;
    const step: Flight = {
      id: ++this.#lastId,
      first: this.#sent,
      count: Math.min(available, size),
      follows: this.#inFlight.at(-1)?.id ?? 0,
    };
    this.#inFlight.push(step);
    this.#stepsSinceWrong++;
    this.#sent += step.count;
    return step;
  }

  /** The drafts that are wanted now, if any. Ask again when those that are being made are there. */
  wantedDrafts(): DraftRequest | undefined {
    const schedule = this.#schedule;
    if (this.#ended || !this.#mayDraft(schedule)) return undefined;
    const wanted =
      schedule.mode === 'off'
        ? Number(this.#wantsProbe)
        : this.#nextSize(schedule) - this.#available;
    const count = Math.min(wanted, this.#inputEnd - this.#text.length);
    if (count <= 0) return undefined;
    return { count, after: this.#text.length, branch: this.#branch };
  }

  /**
   * Takes a draft. Meanwhile the text may have gone on without it, or turned out otherwise.
   * @param index of the draft among those of the request, ascending
   * @returns whether the request's next draft is wanted
   */
  addDraft({ after, branch }: DraftRequest, index: number, token: number): boolean {
    if (branch !== this.#branch || this.#ended) return false;
    const position = after + index;
    if (position < this.#text.length) return this.#judgeLate(token === this.#text.at(position));
    this.#text.guess(token);
    return !this.options.isEnd(token);
  }

  /** No more drafts come of a request. @param count drafts that came */
  endDrafts({ after, branch, count: wanted }: DraftRequest, count: number): void {
    if (branch === this.#branch && count < wanted) this.#exhaustedAt = after + count;
  }

  /** There will be no more drafts: goes on without. */
  stopDrafting(): void {
    this.#canDraft = false;
  }

  /**
   * Takes the target's choices for a step, one per token. Results of cancelled steps are ignored.
   * @returns what is certain now; nothing while results of earlier steps are missing
   */
  finished(id: number, choices: ArrayLike<number>): Verdict {
    const flight = this.#inFlight.find((step) => step.id === id);
    if (flight) flight.choices = choices;
    const tokens: number[] = [];
    const cancelled: number[] = [];
    for (let next = this.#inFlight[0]; next?.choices; next = this.#inFlight[0]) {
      this.#inFlight.shift();
      const right = this.#accept(next.choices, tokens);
      if (right && !this.#ended) continue;
      cancelled.push(...this.#abandonFlights());
      this.#sent = Math.min(this.#sent, this.#text.certain - 1);
    }
    this.#cancelledSteps += cancelled.length;
    return { tokens, cancelled };
  }

  /** Gives up all steps in flight, and all guesses. @returns ids of the steps */
  stop(): readonly number[] {
    this.#ended = true;
    this.#sent = this.computed;
    this.#text.truncate(this.#text.certain);
    return this.#abandonFlights();
  }

  /** @returns false when a guess was wrong */
  #accept(choices: ArrayLike<number>, tokens: number[]): boolean {
    for (let i = 0; i < choices.length && !this.#ended; i++) {
      const token = choices[i] as number;
      const confirmation = this.#text.confirm(token);
      if (confirmation !== 'no guess') this.#judge(confirmation === 'right');
      tokens.push(token);
      this.#sinceProbe++;
      const { certain } = this.#text;
      if (this.options.isEnd(token) || certain >= this.#end) this.#ended = true;
      if (certain > this.options.cells) this.#ended = true;
      if (confirmation === 'wrong') {
        this.#branch++;
        this.#stepsSinceWrong = 0;
        return false;
      }
    }
    return true;
  }

  /** A draft came after the target's choice. @returns whether it was right, and the next one can be */
  #judgeLate(accepted: boolean): boolean {
    this.#judge(accepted);
    if (accepted) return true;
    this.#branch++;
    this.#stepsSinceWrong = 0;
    return false;
  }

  #judge(accepted: boolean): void {
    this.#judged++;
    if (accepted) this.#accepted++;
    this.#sinceProbe = 0;
    this.options.onJudged?.(accepted);
  }

  #abandonFlights(): number[] {
    return this.#inFlight.splice(0).map(({ id }) => id);
  }

  get #schedule(): Schedule {
    return this.#canDraft ? this.options.schedule() : plainSchedule;
  }

  #nextSize(schedule: Schedule): number {
    return Math.min(stepSize(schedule, this.#stepsSinceWrong), this.options.maxStepTokens);
  }

  /** Tokens that can be submitted. An end is not: what follows it is not wanted. */
  get #available(): number {
    const end = Math.min(this.#inputEnd, this.#text.length - (this.#endIsGuessed ? 1 : 0));
    return Math.max(0, end - this.#sent);
  }

  get #endIsGuessed(): boolean {
    const { length, certain } = this.#text;
    return length > certain && this.options.isEnd(this.#text.at(length - 1) as number);
  }

  /** Positions beyond have no cells, or choose tokens beyond the longest wanted text. */
  get #inputEnd(): number {
    return Math.min(this.#end - 1, this.options.cells);
  }

  #mayDraft({ mode }: Schedule): boolean {
    if (!this.#canDraft || this.#exhaustedAt === this.#text.length) return false;
    if (this.#text.length >= this.#inputEnd) return false;
    if (this.#endIsGuessed) return false;
    // Without a pipeline, guesses are made when the token that they follow is certain.
    if (mode === 'sync') return this.#inFlight.length === 0;
    return true;
  }

  get #wantsProbe(): boolean {
    return (
      this.#inFlight.length > 0 &&
      this.#text.length === this.#text.certain &&
      this.#sinceProbe >= probeInterval
    );
  }
}
