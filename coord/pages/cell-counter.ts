import type { PageCopy } from '../../step/pages.js';

/** Counts what cells were used for. */
export class CellCounter {
  counts = noCounts();

  reset(): void {
    this.counts = noCounts();
  }

  /** A prompt begins to be read. @param reused leading tokens that are there */
  begun(reused: number, tokens: number): void {
    this.counts.prompts++;
    if (reused > 0) this.counts.hits++;
    this.counts.reusedTokens += reused;
    this.counts.computedTokens += tokens - reused;
  }

  copied(copies: readonly PageCopy[]): void {
    for (const { count } of copies) this.counts.copiedPages += count;
  }
}

function noCounts() {
  return {
    prompts: 0,
    hits: 0,
    reusedTokens: 0,
    computedTokens: 0,
    preemptions: 0,
    copiedPages: 0,
  };
}
