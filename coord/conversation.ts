import type { TokenText } from '../step/token-text.js';
import type { Batcher, Speculation } from './batcher.js';
import type { CellMap, Place } from './cells.js';
import { CoordinatorError } from './errors.js';
import {
  Generation,
  type FinishReason,
  type GenerateOptions,
  type GenerationSummary,
} from './generation.js';
import type { Pipeline } from './pipeline.js';
import { Sequence, type SavedText } from './sequence.js';
import { giveUpDrafts, SpeculativeDecoder, type SequenceDrafts } from './speculative-decoder.js';

/** What a conversation works with. */
export interface ConversationParts {
  readonly pipeline: Pipeline;
  readonly batcher: Batcher;
  /** Most tokens in a step. */
  readonly chunkTokens: number;
  readonly cellMap: CellMap;
  /** Tokens that a text can lose without being computed anew; default: all. */
  readonly rewind?: number;
  /** How a sequence speculates, when that pays. */
  readonly drafts?: (sequence: Sequence) => SequenceDrafts;
  /** Told when a prompt has been read. */
  readonly onPromptRead?: () => void;
}

/** One sequence that is continued again and again. Generations of one conversation follow each other. */
export class Conversation {
  readonly #place: Place;
  readonly #sequence: Sequence;
  readonly #drafts: SequenceDrafts | undefined;
  #state: 'idle' | 'generating' | 'closed' = 'idle';
  #stop: AbortController | undefined;

  /** @throws CoordinatorError 'context' when no cells are free */
  constructor(private readonly parts: ConversationParts) {
    this.#place = parts.cellMap.allocate();
    const { cells, slots } = this.#place;
    this.#sequence = new Sequence(cells, { slots, rewind: parts.rewind });
    this.#drafts = parts.drafts?.(this.#sequence);
  }

  /** The text so far: the last prompt, and what was generated. */
  get text(): Pick<TokenText, 'tokens' | 'certain' | 'at' | 'mark'> {
    return this.#sequence.text;
  }

  /** Tokens whose keys and values are in cells. */
  get computedTokens(): number {
    return this.#sequence.computed.at;
  }

  /** What it takes to go on in another process. @throws CoordinatorError 'conversation' when it is closed, or answers */
  save(): SavedText {
    this.#checkIdle();
    return this.#sequence.saved;
  }

  /**
   * Goes on with a text that was saved, as if it had not ended.
   * @throws CoordinatorError 'conversation' when it is closed, or answers; 'context' when the text does not fit
   */
  resume(saved: SavedText): void {
    this.#checkIdle();
    this.#checkFits(saved.tokens);
    this.#sequence.resume(saved);
  }

  /** Forgets all tokens. @throws CoordinatorError 'conversation' when it is closed, or answers */
  reset(): void {
    this.#checkIdle();
    this.#sequence.text.truncate(0);
  }

  /** Gives the cells back, once; an answer that is under way ends as cancelled, and gives them back then. */
  close(): void {
    const wasIdle = this.#state === 'idle';
    this.#state = 'closed';
    this.#stop?.abort();
    if (wasIdle) this.parts.cellMap.release(this.#place);
  }

  /**
   * Continues a text, computing only what differs from the tokens held. Tokens are computed ahead of a slow reader, up to
   * a bound; whoever stops reading stops the answer.
   * @param prompt [≥ 1] token ids of the whole text so far
   * @yields token ids as they come, with the one that ends the answer
   * @throws CoordinatorError 'context' before anything is computed when the prompt does not fit, 'conversation' when it is
   * closed or answers already; 'worker-lost', 'step'.
   */
  async *generate(
    prompt: Int32Array,
    options: GenerateOptions,
  ): AsyncGenerator<number, GenerationSummary> {
    this.#checkIdle();
    this.#checkFits(prompt);
    this.#state = 'generating';
    const sequence = this.#sequence;
    sequence.text.replace(prompt);
    sequence.sampling = options.sampling;
    const reused = sequence.firstMissing(prompt.length);
    const generation = new Generation(prompt.length, reused, options);
    sequence.output = generation.output;
    const stop = (this.#stop = new AbortController());
    const cancel = () => stop.abort();
    options.signal?.addEventListener('abort', cancel);
    if (options.signal?.aborted) cancel();
    const produced = this.#produce(generation, stop.signal).finally(() => generation.output.end());
    produced.catch(() => undefined);
    let read = 0;
    try {
      for await (const token of generation.output) {
        if (stop.signal.aborted) break;
        read++;
        yield token;
      }
      if (read < generation.tokens) cancel();
      const reason = await produced;
      return generation.summary(read < generation.tokens ? 'cancelled' : reason, read);
    } finally {
      cancel();
      options.signal?.removeEventListener('abort', cancel);
      generation.output.end();
      await produced.catch(() => undefined);
      // What nobody has read was not said.
      sequence.text.truncate(prompt.length + read);
      this.#finish();
    }
  }

  #finish(): void {
    this.#sequence.output = undefined;
    this.#stop = undefined;
    const isClosed = this.#state === 'closed';
    this.#state = 'idle';
    if (isClosed) this.close();
  }

  #checkIdle(): void {
    if (this.#state === 'closed')
      throw new CoordinatorError('conversation', 'the conversation is closed: begin another one');
    if (this.#state === 'generating')
      throw new CoordinatorError(
        'conversation',
        'the conversation is answering: wait for the end, or begin another one',
      );
  }

  #checkFits(prompt: Int32Array): void {
    const { length } = this.#sequence.cells;
    if (prompt.length === 0) throw new CoordinatorError('context', 'the prompt is empty');
    if (prompt.length > length)
      throw new CoordinatorError(
        'context',
        `the text has ${prompt.length} tokens, the context holds ${length}: shorten it, or start with a larger --context`,
      );
  }

  /** Computes tokens until the answer ends. When the stages are rearranged, the text is computed again on the new ones. */
  async #produce(generation: Generation, signal: AbortSignal): Promise<FinishReason> {
    if (generation.options.speculate ?? true) this.#prepareDrafts();
    for (;;)
      try {
        return await this.#continue(generation, signal);
      } catch (error) {
        const code = error instanceof CoordinatorError ? error.code : undefined;
        if (code === 'cancelled' && signal.aborted) return 'cancelled';
        if (code !== 'route') throw error;
      }
  }

  async #continue(generation: Generation, signal: AbortSignal): Promise<FinishReason> {
    const { text, cells } = this.#sequence;
    const drafts = (generation.options.speculate ?? true) ? this.#drafts : undefined;
    while (text.certain <= cells.length) {
      this.#sequence.enter(await this.parts.pipeline.ready(signal));
      using speculation = drafts && this.#speculate(drafts);
      if (speculation) {
        const reason = await this.#continueSpeculatively(drafts, speculation, generation, signal);
        if (reason) return reason;
        continue;
      }
      const token = await this.parts.batcher.next(this.#sequence, signal, generation.options);
      if (generation.tokens === 0) this.parts.onPromptRead?.();
      text.confirm(token);
      const reason = await generation.add(token);
      if (reason) return reason;
    }
    return 'context';
  }

  /** Guesses can follow as soon as all but the last token are in cells. */
  #speculate(drafts: SequenceDrafts): Speculation | undefined {
    const { certain } = this.#sequence.text;
    if (!drafts.source || this.#sequence.firstMissing(certain) < certain - 1) return undefined;
    return this.parts.batcher.speculate(this.#sequence, drafts.planner);
  }

  /** @returns why the answer ends; undefined when it goes on in a batch */
  async #continueSpeculatively(
    drafts: SequenceDrafts,
    speculation: Speculation,
    generation: Generation,
    signal: AbortSignal,
  ): Promise<FinishReason | undefined> {
    const { maxTokens, isEnd } = generation.options;
    const decoder = new SpeculativeDecoder(this.parts.pipeline, this.#sequence, drafts, {
      maxTokens: maxTokens - generation.tokens,
      isEnd,
      maxStepTokens: this.parts.chunkTokens,
      signal: AbortSignal.any([signal, speculation.signal]),
      texts: () => speculation.count,
    });
    for await (const token of decoder.decode()) {
      const reason = await generation.add(token);
      if (reason) return reason;
    }
    if (signal.aborted) return 'cancelled';
    return speculation.signal.aborted ? undefined : 'context';
  }

  /** The draft model reads the prompt while the stages do. */
  #prepareDrafts(): void {
    const drafts = this.#drafts;
    drafts?.source
      ?.prepare?.(this.#sequence.text)
      .catch((error: Error) => giveUpDrafts(drafts, error));
  }
}
