import type { Sampling } from '../engine/engine.js';
import type { CellMap, CellRange } from './cells.js';
import { chunkSize, type StepCostEstimate } from './chunk-size.js';
import { CoordinatorError } from './errors.js';
import type { Pipeline } from './pipeline.js';
import { giveUpDrafts, SpeculativeDecoder, type Speculation } from './speculative-decoder.js';
import { causalBatch } from './step-builder.js';

export interface GenerateOptions {
  readonly sampling: Sampling;
  readonly maxTokens: number;
  /** Whether a token ends the answer. */
  readonly isEnd: (token: number) => boolean;
  /** Whether drafts are used, where there are any; default true. */
  readonly speculate?: boolean;
  /** Stops the answer; what was computed stays in the cells. */
  readonly signal?: AbortSignal;
}

export interface GenerationSummary {
  readonly promptTokens: number;
  /** Prompt tokens that were in cells already. */
  readonly reusedTokens: number;
  /** Tokens generated, with the one that ended the answer. */
  readonly outputTokens: number;
  readonly finishReason: 'stop' | 'length' | 'context' | 'cancelled';
  /** Milliseconds until the first token. */
  readonly ttftMs: number;
  /** Tokens per second after the first. */
  readonly tokPerSec: number;
  /** Computed prompt tokens per second. */
  readonly prefillTokPerSec: number;
}

/** What a conversation works with. */
export interface ConversationParts {
  readonly pipeline: Pipeline;
  readonly cellMap: CellMap;
  /** Most tokens in a step. */
  readonly chunkTokens: number;
  /** Stages with layers. */
  readonly stages: number;
  readonly stepCost: StepCostEstimate;
  /** How the conversation with these cells speculates; without it, one token is decoded at a time. */
  readonly speculation?: (range: CellRange) => Speculation;
}

/** Steps of a prompt that may be under way at once, for each stage. */
const chunksInFlightPerStage = 2;

/** One sequence of tokens and its KV cells. Generations of one conversation follow each other. */
export class Conversation {
  readonly #range: CellRange;
  readonly #speculation: Speculation | undefined;
  /** Tokens whose keys and values are in the cells: token i in cell start + i. */
  #held: number[] = [];

  /** @throws CoordinatorError 'context' when no cells are free */
  constructor(private readonly parts: ConversationParts) {
    this.#range = parts.cellMap.allocate();
    this.#speculation = parts.speculation?.(this.#range);
  }

  /** Tokens held in cells. */
  get tokens(): number {
    return this.#held.length;
  }

  /** Forgets all tokens. */
  reset(): void {
    this.#held = [];
  }

  /** Gives the cells back. */
  close(): void {
    this.reset();
    this.parts.cellMap.release(this.#range);
  }

  /**
   * Continues a text, computing only what differs from the tokens held.
   * @param prompt [≥ 1] token ids of the whole text so far
   * @yields token ids as they come, with the one that ends the answer
   * @throws CoordinatorError 'context' before anything is computed when the prompt does not fit; 'worker-lost', 'step'.
   */
  async *generate(
    prompt: Int32Array,
    options: GenerateOptions,
  ): AsyncGenerator<number, GenerationSummary> {
    this.#checkFits(prompt);
    const begin = performance.now();
    const reusedTokens = commonPrefix(this.#held, prompt);
    this.#held.length = reusedTokens;
    const summary = new Summary(prompt.length, reusedTokens, begin);
    try {
      if (options.speculate ?? true) this.#prepareDrafts(prompt);
      const first = await this.#prefill(prompt, options);
      for await (const token of this.#decode(first, options)) {
        summary.count();
        yield token;
        if (options.isEnd(token)) return summary.finish('stop');
        if (summary.outputTokens >= options.maxTokens) return summary.finish('length');
      }
      return summary.finish(options.signal?.aborted ? 'cancelled' : 'context');
    } catch (error) {
      if (error instanceof CoordinatorError && error.code === 'cancelled')
        return summary.finish('cancelled');
      throw error;
    }
  }

  #checkFits(prompt: Int32Array): void {
    if (prompt.length === 0) throw new CoordinatorError('context', 'the prompt is empty');
    if (prompt.length > this.#range.length)
      throw new CoordinatorError(
        'context',
        `the text has ${prompt.length} tokens, the context holds ${this.#range.length}: shorten it, or start with a larger --context`,
      );
  }

  /** Sends the missing part of the prompt in chunks that follow each other through the stages; gives the next token. */
  async #prefill(prompt: Int32Array, { sampling, signal }: GenerateOptions): Promise<number> {
    const inFlight: { id: number; tokens: Promise<Int32Array> }[] = [];
    const stop = () => this.parts.pipeline.cancel(inFlight.map(({ id }) => id));
    signal?.addEventListener('abort', stop);
    try {
      let sent = this.#held.length;
      const chunk = chunkSize(
        prompt.length - sent,
        this.parts.stages,
        this.parts.stepCost.cost,
        this.parts.chunkTokens,
      );
      let chosen: Int32Array = new Int32Array(0);
      while (sent < prompt.length || inFlight.length > 0) {
        signal?.throwIfAborted();
        if (sent < prompt.length && inFlight.length < chunksInFlightPerStage * this.parts.stages) {
          const count = Math.min(chunk, prompt.length - sent);
          const last = sent + count === prompt.length;
          const outputs = last ? Int32Array.of(count - 1) : new Int32Array(0);
          const step = this.parts.pipeline.submit(
            causalBatch(prompt, sent, count, this.#range, outputs, sampling),
          );
          step.tokens.catch(() => undefined);
          inFlight.push(step);
          sent += count;
          continue;
        }
        chosen = await (inFlight[0] as (typeof inFlight)[0]).tokens;
        inFlight.shift();
        const held = this.#held.length;
        this.#held.push(...prompt.subarray(held, Math.min(held + chunk, prompt.length)));
      }
      return chosen[0] as number;
    } catch (error) {
      stop();
      throw signal?.aborted ? cancelled() : error;
    } finally {
      signal?.removeEventListener('abort', stop);
    }
  }

  /** @yields the first token, then those that follow it until the cells are full */
  async *#decode(first: number, options: GenerateOptions): AsyncGenerator<number, void> {
    yield first;
    if (this.#speculation && (options.speculate ?? true))
      return yield* this.#decodeSpeculatively(first, options);
    let token = first;
    while (this.#held.length < this.#range.length) {
      token = await this.#decodeNext(token, options);
      yield token;
    }
  }

  async *#decodeSpeculatively(
    first: number,
    { sampling, maxTokens, isEnd, signal }: GenerateOptions,
  ): AsyncGenerator<number, void> {
    const { pipeline, chunkTokens } = this.parts;
    const decoder = new SpeculativeDecoder(
      pipeline,
      this.#range,
      this.#speculation as Speculation,
      [...this.#held, first],
      {
        sampling,
        maxTokens: maxTokens - 1,
        isEnd,
        maxStepTokens: chunkTokens,
        ...(signal ? { signal } : {}),
      },
    );
    try {
      yield* decoder.decode();
    } finally {
      this.#held = [...decoder.held];
    }
  }

  /** The draft model reads the prompt while the stages do. */
  #prepareDrafts(prompt: Int32Array): void {
    const speculation = this.#speculation;
    speculation?.drafts
      ?.prepare?.([...prompt])
      .catch((error: Error) => giveUpDrafts(speculation, error));
  }

  async #decodeNext(token: number, { sampling, signal }: GenerateOptions): Promise<number> {
    if (signal?.aborted) throw cancelled();
    const held = this.#held;
    held.push(token);
    const { id, tokens } = this.parts.pipeline.submit(
      causalBatch(held, held.length - 1, 1, this.#range, firstRow, sampling),
    );
    const stop = () => this.parts.pipeline.cancel([id]);
    signal?.addEventListener('abort', stop);
    try {
      const [next] = await tokens;
      return next as number;
    } catch (error) {
      held.pop();
      throw error;
    } finally {
      signal?.removeEventListener('abort', stop);
    }
  }
}

const firstRow = Int32Array.of(0);

function cancelled(): CoordinatorError {
  return new CoordinatorError('cancelled', 'cancelled');
}

/** How many leading tokens are the same, leaving at least one of the prompt to compute. */
function commonPrefix(held: readonly number[], prompt: Int32Array): number {
  const most = Math.min(held.length, prompt.length - 1);
  let same = 0;
  while (same < most && held[same] === prompt[same]) same++;
  return same;
}

/** Counts and times of one generation. */
class Summary {
  outputTokens = 0;
  #firstAt = 0;
  #lastAt = 0;

  constructor(
    private readonly promptTokens: number,
    private readonly reusedTokens: number,
    private readonly begin: number,
  ) {}

  count(): void {
    this.outputTokens++;
    this.#lastAt = performance.now();
    if (this.outputTokens === 1) this.#firstAt = this.#lastAt;
  }

  finish(finishReason: GenerationSummary['finishReason']): GenerationSummary {
    const ttftMs = this.outputTokens > 0 ? this.#firstAt - this.begin : 0;
    const decodeMs = this.#lastAt - this.#firstAt;
    const computed = this.promptTokens - this.reusedTokens;
    return {
      promptTokens: this.promptTokens,
      reusedTokens: this.reusedTokens,
      outputTokens: this.outputTokens,
      finishReason,
      ttftMs,
      tokPerSec: decodeMs > 0 ? ((this.outputTokens - 1) * 1000) / decodeMs : 0,
      prefillTokPerSec: ttftMs > 0 ? (computed * 1000) / ttftMs : 0,
    };
  }
}
