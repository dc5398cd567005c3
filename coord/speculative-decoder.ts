import type { Logger } from 'pino';
import {
  SpeculationController,
  type DraftRequest,
  type VerificationStep,
} from '../speculative/controller.js';
import type { DraftSource } from '../speculative/draft-source.js';
import type { SchedulePlanner } from '../speculative/planner.js';
import { SpeedMeter } from '../speculative/speed-meter.js';
import type { Pipeline } from './pipeline.js';
import type { SegmentResult } from '../step/step.js';
import { fewRows } from '../step/tiles.js';
import type { Sequence } from './sequence.js';

/** How one sequence speculates. */
export interface SequenceDrafts {
  readonly planner: SchedulePlanner;
  /** Undefined once it has failed. */
  source: DraftSource | undefined;
  /** Adds what became of a generation's drafts. */
  readonly count: (counts: DraftCounts) => void;
  readonly logger: Logger;
}

/** What became of drafts. */
export interface DraftCounts {
  /** Drafted tokens that were judged: what stood behind a wrong one is not counted. */
  drafted: number;
  accepted: number;
  /** Steps that were judged, wholly or up to a wrong guess. */
  steps: number;
  cancelledSteps: number;
}

export interface DecodeOptions {
  /** Most tokens to add. */
  readonly maxTokens: number;
  readonly isEnd: (token: number) => boolean;
  /** Most tokens of the text. */
  readonly mostTokens: number;
  /** Whether the text has so many cells, or gets them without waiting; default: it has all. */
  readonly hasCells?: (cells: number) => boolean;
  /** Whether to stop until somebody has read on; default: never. */
  readonly isAhead?: () => boolean;
  readonly maxStepTokens: number;
  readonly signal: AbortSignal;
  /** Texts that speculate at once, this one among them; default 1. */
  readonly texts?: () => number;
}

/**
 * Continues a text by speculative decoding: drives the controller with the pipeline's steps and a source's drafts, both
 * under way at once.
 */
export class SpeculativeDecoder {
  readonly #controller: SpeculationController;
  readonly #speed: SpeedMeter;
  /** Ids of the pipeline's steps by those of the controller's. */
  readonly #stepIds = new Map<number, number>();
  /** Steps on their way, by their ids, of which later ones need the state alone. */
  readonly #ahead = new Map<number, Promise<SegmentResult>>();
  /** What has happened since the loop last looked. */
  readonly #events: (() => readonly number[])[] = [];
  /** Steps of the controller's that are on their way. */
  readonly #inFlight = new Set<number>();
  #isShortOfCells = false;
  #wake: (() => void) | undefined;
  #drafting = false;
  #steps = 0;

  /** @param sequence all but the last of its certain tokens are computed */
  constructor(
    private readonly pipeline: Pipeline,
    private readonly sequence: Sequence,
    private readonly drafts: SequenceDrafts,
    private readonly options: DecodeOptions,
  ) {
    const { planner } = drafts;
    this.#speed = new SpeedMeter(planner);
    planner.reads(sequence.text.certain);
    this.#controller = new SpeculationController({
      text: sequence.text,
      maxTokens: options.maxTokens,
      cells: options.mostTokens,
      maxStepTokens: options.maxStepTokens,
      isEnd: options.isEnd,
      schedule: () => planner.schedule,
      onJudged: (accepted) => planner.acceptance.add(accepted),
    });
  }

  /**
   * @yields tokens as they become certain, until one ends the text, there are enough, there are no cells for more, the
   * reader is too slow, or the signal says stop
   * @throws CoordinatorError 'worker-lost', 'step', 'route'
   */
  async *decode(): AsyncGenerator<number, void> {
    const { signal, isAhead = () => false } = this.options;
    const stop = () => this.#happened(() => []);
    signal.addEventListener('abort', stop);
    try {
      while (!signal.aborted && !isAhead()) {
        if (!this.drafts.source) this.#controller.stopDrafting();
        this.#submitSteps();
        this.#requestDrafts();
        if (this.#controller.ended || (this.#isShortOfCells && this.#inFlight.size === 0)) return;
        const tokens = await this.#nextEvent();
        const readyAt = performance.now();
        for (const token of tokens) yield token;
        this.#speed.pause(performance.now() - readyAt);
      }
    } catch (error) {
      // Steps may have gone on from what the one that failed has not written.
      this.sequence.states.forget();
      throw error;
    } finally {
      signal.removeEventListener('abort', stop);
      this.#cancel(this.#controller.stop());
      this.#drop([...this.#ahead.keys()]);
      this.sequence.computed.at = this.#controller.computed;
      this.sequence.states.giveUp();
      this.drafts.count({ ...this.#controller.counts, steps: this.#steps });
    }
  }

  #submitSteps(): void {
    const { mostTokens, hasCells = () => true } = this.options;
    for (;;) {
      this.#isShortOfCells = !hasCells(Math.min(this.sequence.text.length, mostTokens));
      const step = this.#isShortOfCells ? undefined : this.#controller.takeStep();
      if (!step) return;
      this.#submit(step);
    }
  }

  /** Where states are kept, those behind a wrong guess are not used: steps begin where there is one from before it. */
  #submit({ id, first, count, follows }: VerificationStep): void {
    const end = first + count;
    const from = this.#goOnFrom(first, count);
    const submitted = this.#send(from, end, count, this.#stepIds.get(follows) ?? 0);
    this.#stepIds.set(id, submitted.id);
    this.#inFlight.add(id);
    Promise.all([submitted.result, ...this.#ahead.values()]).then(
      ([{ choices }]) => this.#happened(() => this.#finished(id, choices)),
      (error: Error) => {
        // Steps that were cancelled here are gone from the map.
        if (this.#stepIds.has(id)) this.#happened(() => raise(error));
      },
    );
  }

  /**
   * Computes tokens from the last state before `first` on, as far as they do not fit into the step itself: rows get the
   * same bits in steps of few alone.
   * @returns where the step begins
   */
  #goOnFrom(first: number, count: number): number {
    const most = Math.min(fewRows, this.options.maxStepTokens);
    let from = this.sequence.states.before(first);
    while (from < first && first + count - from > most) {
      const end = Math.min(first, from + most);
      const { id, result } = this.#send(from, end, 0, 0);
      this.#ahead.set(id, result);
      const done = () => this.#ahead.delete(id);
      result.then(done, done);
      from = end;
    }
    return from;
  }

  /** @param choices that are wanted, of the last rows */
  #send(
    first: number,
    end: number,
    choices: number,
    follows: number,
  ): { readonly id: number; readonly result: Promise<SegmentResult> } {
    const { sequence } = this;
    const segment = sequence.segment(first, end, { choices, follows });
    const { id, results } = this.pipeline.submit([segment], { epoch: sequence.epoch });
    const result = (results[0] as (typeof results)[0]).then((given) => {
      sequence.states.passed(end, segment.state);
      return given;
    });
    result.catch(() => undefined);
    return { id, result };
  }

  #finished(id: number, choices: Int32Array): readonly number[] {
    this.#inFlight.delete(id);
    const { tokens, cancelled } = this.#controller.finished(id, choices);
    this.#steps++;
    this.#cancel(cancelled);
    this.drafts.planner.reads(this.sequence.text.certain);
    this.#speed.add(tokens.length * (this.options.texts?.() ?? 1), performance.now());
    // What follows is under way before anybody looks at the tokens.
    this.#submitSteps();
    return tokens;
  }

  #cancel(steps: readonly number[]): void {
    const ids = steps.map((step) => this.#stepIds.get(step) ?? 0);
    for (const step of steps) {
      this.#stepIds.delete(step);
      this.#inFlight.delete(step);
    }
    this.#drop(ids);
  }

  #drop(ids: readonly number[]): void {
    this.pipeline.cancel(ids.map((step) => ({ step, sequence: this.sequence.id })));
  }

  #requestDrafts(): void {
    const { source } = this.drafts;
    const request = source && !this.#drafting ? this.#controller.wantedDrafts() : undefined;
    if (!source || !request) return;
    this.#drafting = true;
    void this.#draft(source, request);
  }

  async #draft(source: DraftSource, request: DraftRequest): Promise<void> {
    try {
      const { text, sampling } = this.sequence;
      let count = 0;
      for await (const token of source.draft(text, request.count, sampling)) {
        if (!this.#controller.addDraft(request, count++, token)) break;
        this.#submitSteps();
      }
      this.#controller.endDrafts(request, count);
    } catch (error) {
      giveUpDrafts(this.drafts, error as Error);
    } finally {
      this.#drafting = false;
      this.#happened(() => []);
    }
  }

  #happened(event: () => readonly number[]): void {
    this.#events.push(event);
    this.#wake?.();
  }

  async #nextEvent(): Promise<readonly number[]> {
    while (this.#events.length === 0)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    return (this.#events.shift() as () => readonly number[])();
  }
}

/** Goes on without drafts, with one warning: the answer matters more than its speed. */
export function giveUpDrafts(drafts: SequenceDrafts, { message }: Error): void {
  if (drafts.source) drafts.logger.warn(`going on without drafts: ${message}`);
  drafts.source = undefined;
}

function raise(error: Error): never {
  throw error;
}
