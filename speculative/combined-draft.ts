import type { Sampling } from '../step/sampling.js';
import type { TokenText } from '../step/token-text.js';
import type { DraftSource } from './draft-source.js';
import { NgramDraft } from './ngram-draft.js';

/** A repetition of this many tokens is a better guess than a small model's. */
const convincingRun = 5;

/** Takes what a long repetition in the text suggests, and asks a model where there is none. */
export class CombinedDraft implements DraftSource {
  readonly name: string;
  readonly #repetition = new NgramDraft(convincingRun);

  constructor(private readonly model: DraftSource) {
    this.name = `n-gram + ${model.name}`;
  }

  async *draft(text: TokenText, count: number, sampling: Sampling): AsyncGenerator<number, void> {
    const repeated = this.#repetition.draft(text, count);
    if (repeated.length > 0) yield* repeated;
    else yield* this.model.draft(text, count, sampling);
  }

  async prepare(text: TokenText): Promise<void> {
    await this.model.prepare?.(text);
  }
}
