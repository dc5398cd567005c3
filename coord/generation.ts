import type { Sampling } from '../step/sampling.js';
import type { Terms } from './fair-order.js';
import { TokenQueue } from './token-queue.js';

export interface GenerateOptions extends Terms {
  readonly sampling: Sampling;
  readonly maxTokens: number;
  /** Whether a token ends the answer. */
  readonly isEnd: (token: number) => boolean;
  /** Whether drafts are used, where there are any; default true. */
  readonly speculate?: boolean;
  /** Whether the text may begin with what is known of others; default true. */
  readonly reuse?: boolean;
  /** Stops the answer; what was computed stays in the cells. */
  readonly signal?: AbortSignal;
}

export type FinishReason = 'stop' | 'length' | 'context' | 'cancelled';

export interface GenerationSummary {
  readonly promptTokens: number;
  /** Prompt tokens that were in cells already. */
  readonly reusedTokens: number;
  /** Tokens generated, with the one that ended the answer. */
  readonly outputTokens: number;
  readonly finishReason: FinishReason;
  /** Milliseconds until the first token. */
  readonly ttftMs: number;
  /** Tokens per second after the first. */
  readonly tokPerSec: number;
  /** Computed prompt tokens per second. */
  readonly prefillTokPerSec: number;
}

/** One answer: where its tokens go, when it ends, and how long it took. Time that its reader took does not count. */
export class Generation {
  readonly output = new TokenQueue();
  readonly #begin = performance.now();
  #tokens = 0;
  #firstAt = 0;
  #lastAt = 0;
  #pausedMs = 0;
  #reusedTokens: number | undefined;

  constructor(
    private readonly promptTokens: number,
    readonly options: GenerateOptions,
  ) {}

  /** Tokens so far. */
  get tokens(): number {
    return this.#tokens;
  }

  /** Whether enough tokens wait for a slow reader. */
  get isAhead(): boolean {
    return this.output.full !== undefined;
  }

  /** Waits until a slow reader has read on. */
  async waitForReader(): Promise<void> {
    const begin = performance.now();
    await this.output.full;
    this.#pausedMs += performance.now() - begin;
  }

  /** The text begins to be computed. @param reusedTokens of the prompt, which are there */
  begins(reusedTokens: number): void {
    this.#reusedTokens ??= reusedTokens;
  }

  /** Hands a token to the reader. @returns why the answer ends with it, if it does */
  add(token: number): FinishReason | undefined {
    this.#lastAt = performance.now() - this.#pausedMs;
    if (this.#tokens++ === 0) this.#firstAt = this.#lastAt;
    this.output.push(token);
    if (this.options.isEnd(token)) return 'stop';
    return this.#tokens >= this.options.maxTokens ? 'length' : undefined;
  }

  /** @param read tokens that the reader took */
  summary(finishReason: FinishReason, read: number): GenerationSummary {
    const ttftMs = this.#tokens > 0 ? this.#firstAt - this.#begin : 0;
    const decodeMs = this.#lastAt - this.#firstAt;
    const reusedTokens = this.#reusedTokens ?? 0;
    const computed = this.promptTokens - reusedTokens;
    return {
      promptTokens: this.promptTokens,
      reusedTokens,
      outputTokens: read,
      finishReason,
      ttftMs,
      tokPerSec: decodeMs > 0 ? ((this.#tokens - 1) * 1000) / decodeMs : 0,
      prefillTokPerSec: ttftMs > 0 ? (computed * 1000) / ttftMs : 0,
    };
  }
}
