import type { SchedulePlanner } from '../speculative/planner.js';
import type { SegmentResult } from '../step/step.js';
import { fewRows } from '../step/tiles.js';
import { BatchCounter, type BatchStats } from './batch-stats.js';
import { FairOrder, type Terms } from './fair-order.js';
import { cancelled, routeChanged, type Pipeline } from './pipeline.js';
import type { RouteCosts } from './route-costs.js';
import { nextStep, type NextStep, type StepKind } from './scheduler.js';
import type { Sequence } from './sequence.js';
import { TokenRequest, type Part } from './token-request.js';

/** What batching depends on. */
export interface BatcherParts {
  readonly pipeline: Pipeline;
  /** Most tokens in a step. */
  readonly chunkTokens: number;
  /** Of the route in use. */
  readonly costs: () => Pick<RouteCosts, 'stages' | 'pipeline'>;
}

/** A sequence that is decoded beside the batch, with drafts. */
export interface Speculation extends Disposable {
  /** Aborts when more sequences have come, and a batch is faster. */
  readonly signal: AbortSignal;
  /** Sequences that speculate at once. */
  readonly count: number;
}

/** By how much a unit of priority brings somebody forward: steps of a batch, rows of prompts. */
const tokensPerPriority = 64;
const rowsPerPriority = 1024;

interface SentStep {
  readonly kind: StepKind;
  /** Parts that are not back. */
  parts: number;
}

/**
 * Continuous batching: takes sequences that wait for their next token, has the scheduler make steps of them, and sends
 * these. When a step's results are back, the next one is made as soon as all its sequences have asked again.
 */
export class Batcher {
  readonly #requests = new Set<TokenRequest>();
  readonly #orders = {
    token: new FairOrder(tokensPerPriority),
    text: new FairOrder(rowsPerPriority),
  };
  readonly #inFlight = { token: 0, text: 0 };
  readonly #speculating = new Map<AbortController, SchedulePlanner>();
  /** Those that have got something in this turn of the event loop, and may ask for more before it ends. */
  readonly #returning = new Set<Sequence>();
  #turnEnd: NodeJS.Immediate | undefined;
  #counter = new BatchCounter();

  constructor(private readonly parts: BatcherParts) {}

  /** Since the last reset. */
  get stats(): BatchStats {
    return this.#counter.stats;
  }

  resetStats(): void {
    this.#counter = new BatchCounter();
  }

  /**
   * The token that follows a sequence's text, which has entered the route in use.
   * @throws CoordinatorError 'cancelled' when the signal says so; 'route', 'worker-lost', 'step'
   */
  async next(sequence: Sequence, signal: AbortSignal, terms: Terms = {}): Promise<number> {
    if (signal.aborted) throw cancelled();
    const { chunkTokens, costs } = this.parts;
    const limits = { chunkTokens, stageCosts: () => costs().stages };
    const request = new TokenRequest(sequence, limits, this.#orders, terms);
    const cancel = () => {
      this.#drop(request, cancelled());
      this.#proceed();
    };
    signal.addEventListener('abort', cancel);
    this.#requests.add(request);
    this.#returning.delete(sequence);
    this.#proceed();
    try {
      return await request.token;
    } finally {
      signal.removeEventListener('abort', cancel);
    }
  }

  /**
   * Begins to decode a sequence beside the batch, if that is faster for all.
   * @param planner of its drafts
   * @returns undefined when it should rather be in the batch
   */
  speculate(sequence: Sequence, planner: SchedulePlanner): Speculation | undefined {
    const wasReturning = this.#returning.delete(sequence);
    if (!planner.paysFor(this.#decoding + this.#returning.size + this.#speculating.size + 1)) {
      if (wasReturning) this.#returning.add(sequence);
      return undefined;
    }
    const stop = new AbortController();
    const speculating = this.#speculating.set(stop, planner);
    this.#proceed();
    return {
      signal: stop.signal,
      get count() {
        return speculating.size;
      },
      [Symbol.dispose]: () => {
        speculating.delete(stop);
        this.#returning.add(sequence);
        this.#proceed();
      },
    };
  }

  /** Sequences that have asked for a token behind a text that is computed. */
  get #decoding(): number {
    let count = 0;
    for (const { isDecoding } of this.#requests) if (isDecoding) count++;
    return count;
  }

  /** Sends what can be sent, or waits until those who may ask again have had their turn. */
  #proceed(): void {
    if (this.#returning.size > 0) {
      this.#turnEnd ??= setImmediate(() => {
        this.#returning.clear();
        this.#proceed();
      });
      return;
    }
    clearImmediate(this.#turnEnd);
    this.#turnEnd = undefined;
    this.#stopSpeculating();
    this.#refuseOutdated();
    for (let step = this.#nextStep(); step; step = this.#nextStep()) this.#make(step);
  }

  #stopSpeculating(): void {
    const sequences = this.#decoding + this.#speculating.size;
    for (const [stop, planner] of this.#speculating) {
      if (planner.paysFor(sequences)) continue;
      // A slow reader may keep it from leaving, but not others from having the stages.
      this.#speculating.delete(stop);
      stop.abort();
    }
  }

  /** The stages that have their keys and values are not in use any more. */
  #refuseOutdated(): void {
    const { epoch } = this.parts.pipeline;
    for (const request of this.#requests)
      if (request.sequence.epoch !== epoch) this.#drop(request, routeChanged());
  }

  #nextStep(): NextStep<TokenRequest> | undefined {
    const { chunkTokens, costs } = this.parts;
    return nextStep({
      waiting: [...this.#requests],
      decoding: this.#decoding,
      speculating: this.#speculating.size,
      inFlight: this.#inFlight,
      costs: costs().pipeline,
      mostRows: Math.min(fewRows, chunkTokens),
    });
  }

  #make(next: NextStep<TokenRequest>): void {
    const requests = next.kind === 'token' ? next.sequences : [next.sequence];
    const now = performance.now();
    for (const { hasBegun, begin } of requests)
      if (!hasBegun) this.#counter.waited(next.kind, now - begin);
    const parts = requests.map((request) => request.take(next.kind === 'text' && next.isShort));
    this.#send(next.kind, requests, parts);
  }

  #send(kind: StepKind, requests: readonly TokenRequest[], parts: readonly Part[]): void {
    const segments = parts.map(({ segment }) => segment);
    const { id, results } = this.parts.pipeline.submit(segments);
    const step: SentStep = { kind, parts: parts.length };
    this.#inFlight[kind]++;
    const rows = segments.reduce((sum, { tokens }) => sum + tokens.length, 0);
    this.#counter.sent(kind, rows, this.#inFlight[kind]);
    for (const [i, part] of parts.entries()) {
      const request = requests[i] as TokenRequest;
      part.step = id;
      results[i]?.then(
        (result) => this.#passed(step, request, part, result),
        (error: Error) => this.#lost(step, request, error),
      );
    }
  }

  #passed(step: SentStep, request: TokenRequest, part: Part, { choices }: SegmentResult): void {
    this.#settled(step);
    if (this.#requests.has(request) && request.passed(part, choices[0])) {
      this.#requests.delete(request);
      this.#returning.add(request.sequence);
    }
    this.#proceed();
  }

  #lost(step: SentStep, request: TokenRequest, error: Error): void {
    this.#settled(step);
    this.#drop(request, error);
    this.#proceed();
  }

  #settled(step: SentStep): void {
    if (--step.parts === 0) this.#inFlight[step.kind]--;
  }

  #drop(request: TokenRequest, error: Error): void {
    if (!this.#requests.delete(request)) return;
    const { sequence, inFlight } = request;
    this.parts.pipeline.cancel(inFlight.map(({ step }) => ({ step, sequence: sequence.id })));
    request.fail(error);
  }
}
