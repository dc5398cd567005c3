import { median } from './benchmark-result.js';
import { runLlamaBench, type LlamaBenchOptions, type LlamaBenchTest } from './llama-bench.js';

/** What llama.cpp does in the same minutes, and how we compare. */
export interface Comparison {
  /** Tokens of the prompt that is read, or of the text that is continued. */
  readonly test: 'prefill' | 'decode';
  readonly tokens: number;
  readonly tokPerSec: number;
  /** llama.cpp's, with flash attention or without it, whichever is faster. */
  readonly theirs: { readonly tokPerSec: number; readonly flashAttention: boolean };
  /** Ours ÷ theirs. */
  readonly ratio: number;
}

/** Runs llama-bench in turns with measurements of ours. */
export class LlamaBenchTurns {
  readonly #rates: number[] = [];
  #flashAttention: boolean | undefined;

  constructor(
    private readonly options: LlamaBenchOptions,
    private readonly test: LlamaBenchTest,
  ) {}

  /** Their turn; the first tells whether they are faster with flash attention. @throws LlamaBenchError */
  async take(): Promise<void> {
    if (this.#flashAttention !== undefined) {
      this.#rates.push(await this.#run(this.#flashAttention));
      return;
    }
    const on = await this.#run(true);
    // llama.cpp quantizes values for flash attention only.
    const off = this.options.kvType === 'f16' ? await this.#run(false) : 0;
    this.#flashAttention = on >= off;
    this.#rates.push(Math.max(on, off));
  }

  /** @param tokPerSec ours, measured in turns with theirs */
  against(tokPerSec: number): Comparison {
    const theirs = median(this.#rates);
    const { test } = this;
    return {
      ...('prompt' in test
        ? { test: 'prefill', tokens: test.prompt }
        : { test: 'decode', tokens: test.depth }),
      tokPerSec,
      theirs: { tokPerSec: theirs, flashAttention: this.#flashAttention ?? false },
      ratio: tokPerSec / theirs,
    };
  }

  #run(flashAttention: boolean): Promise<number> {
    return runLlamaBench(this.options, this.test, flashAttention);
  }
}
