import type { Logger } from 'pino';
import type { Sampling } from '../engine/engine.js';
import {
  SpeculationController,
  type DraftRequest,
  type VerificationStep,
} from '../speculative/controller.js';
import type { DraftSource } from '../speculative/draft-source.js';
import type { SpeculationPlanner } from '../speculative/planner.js';
import { SpeedMeter } from '../speculative/speed-meter.js';
import type { CellRange } from './cells.js';
import type { Pipeline } from './pipeline.js';
import { causalBatch } from './step-builder.js';

/** What a conversation needs for speculative decoding. */
export interface Speculation {
  readonly planner: SpeculationPlanner;
  /** Undefined once it has failed. */
  drafts: DraftSource | undefined;
  /** Adds what became of a generation's drafts. */
  readonly count: (counts: SpeculationCounts) => void;
  readonly logger: Logger;
}

/** What became of drafts. */
export interface SpeculationCounts {
  /** Drafted tokens that were judged: what stood behind a wrong one is not counted. */
  drafted: number;
  accepted: number;
  /** Steps that were judged, wholly or up to a wrong guess. */
  steps: number;
  cancelledSteps: number;
}

export interface DecodeOptions {
  readonly sampling: Sampling;
  /** Most tokens to add. */
  readonly maxTokens: number;
  readonly isEnd: (token: number) => boolean;
  readonly maxStepTokens: number;
  readonly signal?: AbortSignal;
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
  /** What has happened since the loop last looked. */
  readonly #events: (() => readonly number[])[] = [];
  #wake: (() => void) | undefined;
  #drafting = false;
  #steps = 0;

  /** @param text certain tokens; all but the last are in the range's cells */
  constructor(
    private readonly pipeline: Pipeline,
    private readonly range: CellRange,
    private readonly speculation: Speculation,
    text: readonly number[],
    private readonly options: DecodeOptions,
  ) {
    const { planner } = speculation;
    this.#speed = new SpeedMeter(planner);
    this.#controller = new SpeculationController({
      text,
      maxTokens: options.maxTokens,
      cells: range.length,
      maxStepTokens: options.maxStepTokens,
      isEnd: options.isEnd,
      schedule: () => planner.schedule,
      onJudged: (accepted) => planner.acceptance.add(accepted),
    });
  }

  /** Tokens in cells, certain and computed. */
  get held(): readonly number[] {
    return this.#controller.text.slice(0, this.#controller.computed);
  }

  /**
   * @yields tokens as they become certain, until one ends the text, there are enough, the cells are full, or the signal
   * says stop
   * @throws CoordinatorError 'worker-lost', 'step'
   */
  async *decode(): AsyncGenerator<number, void> {
    const { signal } = this.options;
    const stop = () => this.#happened(() => []);
    signal?.addEventListener('abort', stop);
    try {
      while (!signal?.aborted) {
        if (!this.speculation.drafts) this.#controller.stopDrafting();
        this.#submitSteps();
        this.#requestDrafts();
        if (this.#controller.ended) return;
        for (const token of await this.#nextEvent()) yield token;
      }
    } finally {
      signal?.removeEventListener('abort', stop);
      this.#cancel(this.#controller.stop());
      this.#count();
    }
  }

  #submitSteps(): void {
    for (let step = this.#controller.takeStep(); step; step = this.#controller.takeStep())
      this.#submit(step);
  }

  #submit({ id, first, count, follows }: VerificationStep): void {
    const outputs = Int32Array.from({ length: count }, (_, i) => i);
    const submitted = this.pipeline.submit(
      causalBatch(this.#controller.text, first, count, this.range, outputs, this.options.sampling),
      this.#stepIds.get(follows) ?? 0,
    );
    this.#stepIds.set(id, submitted.id);
    submitted.tokens.then(
      (choices) => this.#happened(() => this.#finished(id, choices)),
      (error: Error) => {
        // Steps that were cancelled here are gone from the map.
        if (this.#stepIds.has(id)) this.#happened(() => raise(error));
      },
    );
  }

  #finished(id: number, choices: Int32Array): readonly number[] {
    const { tokens, cancelled } = this.#controller.finished(id, choices);
    this.#steps++;
    this.#cancel(cancelled);
    this.#speed.add(tokens.length, performance.now());
    // What follows is under way before anybody looks at the tokens.
    this.#submitSteps();
    return tokens;
  }

  #cancel(steps: readonly number[]): void {
    const ids = steps.map((step) => this.#stepIds.get(step) ?? 0);
    for (const step of steps) this.#stepIds.delete(step);
    this.pipeline.cancel(ids);
  }

  #requestDrafts(): void {
    const { drafts } = this.speculation;
    const request = drafts && !this.#drafting ? this.#controller.wantedDrafts() : undefined;
    if (!drafts || !request) return;
    this.#drafting = true;
    void this.#draft(drafts, request);
  }

  async #draft(source: DraftSource, request: DraftRequest): Promise<void> {
    try {
      const { text } = this.#controller;
      let count = 0;
      for await (const token of source.draft(text, request.count, this.options.sampling)) {
        if (!this.#controller.addDraft(request, count++, token)) break;
        this.#submitSteps();
      }
      this.#controller.endDrafts(request, count);
    } catch (error) {
      giveUpDrafts(this.speculation, error as Error);
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

  #count(): void {
    this.speculation.count({ ...this.#controller.counts, steps: this.#steps });
  }
}

/** Goes on without drafts, with one warning: the answer matters more than its speed. */
export function giveUpDrafts(speculation: Speculation, { message }: Error): void {
  if (speculation.drafts) speculation.logger.warn(`going on without drafts: ${message}`);
  speculation.drafts = undefined;
}

function raise(error: Error): never {
  throw error;
}
