import type { TokenText } from '../step/token-text.js';
import type { Batcher, Speculation } from './batcher.js';
import { CoordinatorError } from './errors.js';
import {
  Generation,
  type FinishReason,
  type GenerateOptions,
  type GenerationSummary,
} from './generation.js';
import type { KeptPages } from './pages/kept-pages.js';
import type { Stay } from './pages/stay.js';
import type { TextCells } from './pages/text-cells.js';
import type { Pipeline } from './pipeline.js';
import type { SavedText, Sequence } from './sequence.js';
import { giveUpDrafts, SpeculativeDecoder, type SequenceDrafts } from './speculative-decoder.js';

/** What a conversation works with. */
export interface ConversationParts {
  readonly pipeline: Pipeline;
  readonly batcher: Batcher;
  /** Most tokens in a step. */
  readonly chunkTokens: number;
  readonly cells: TextCells;
  /** Pages in files, where stages can keep them. */
  readonly keptPages?: KeptPages | undefined;
  /** How a sequence speculates, when that pays. */
  readonly drafts?: (sequence: Sequence) => SequenceDrafts;
  /** Told when a prompt has been read. */
  readonly onPromptRead?: () => void;
}

/** One sequence that is continued again and again. Generations of one conversation follow each other. */
export class Conversation {
  readonly #sequence: Sequence;
  readonly #drafts: SequenceDrafts | undefined;
  #state: 'idle' | 'generating' | 'closed' = 'idle';
  #stop: AbortController | undefined;

  /** @throws CoordinatorError 'context' when there can be no more */
  constructor(private readonly parts: ConversationParts) {
    this.#sequence = parts.cells.open();
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
    this.parts.cells.clear(this.#sequence);
    this.#sequence.resume(saved);
  }

  /** Forgets all tokens. @throws CoordinatorError 'conversation' when it is closed, or answers */
  reset(): void {
    this.#checkIdle();
    this.parts.cells.clear(this.#sequence);
  }

  /** Gives the cells back, once; an answer that is under way ends as cancelled, and gives them back then. */
  close(): void {
    const wasIdle = this.#state === 'idle';
    this.#state = 'closed';
    this.#stop?.abort();
    if (wasIdle) this.parts.cells.close(this.#sequence);
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
    const stop = (this.#stop = new AbortController());
    using stay = this.parts.cells.begin(sequence, prompt, {
      answer: stop.signal,
      isAlone: !(options.reuse ?? true),
    });
    sequence.sampling = options.sampling;
    const generation = new Generation(prompt.length, options);
    sequence.output = generation.output;
    const cancel = () => stop.abort();
    options.signal?.addEventListener('abort', cancel);
    if (options.signal?.aborted) cancel();
    const produced = this.#produce(generation, stay, stop.signal).finally(() =>
      generation.output.end(),
    );
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
    const { mostTokens } = this.parts.cells;
    if (prompt.length === 0) throw new CoordinatorError('context', 'the prompt is empty');
    if (prompt.length > mostTokens)
      throw new CoordinatorError(
        'context',
        `the text has ${prompt.length} tokens, the context holds ${mostTokens}: shorten it, or start with a larger --context`,
      );
  }

  /**
   * Computes tokens until the answer ends. When the stages are rearranged, or the text has to make room for others, what
   * is lost is computed again.
   */
  async #produce(generation: Generation, stay: Stay, signal: AbortSignal): Promise<FinishReason> {
    if (generation.options.speculate ?? true) this.#prepareDrafts();
    for (;;)
      try {
        return await this.#continue(generation, stay, signal);
      } catch (error) {
        const code = error instanceof CoordinatorError ? error.code : undefined;
        if (code === 'cancelled' && signal.aborted) return 'cancelled';
        if (code !== 'route' && stay.place !== 'leaving') throw error;
      }
  }

  async #continue(generation: Generation, stay: Stay, signal: AbortSignal): Promise<FinishReason> {
    const sequence = this.#sequence;
    const { text } = sequence;
    const drafts = (generation.options.speculate ?? true) ? this.#drafts : undefined;
    while (text.certain <= this.parts.cells.mostTokens) {
      if (generation.isAhead) await stay.pause(generation.waitForReader());
      sequence.enter(await this.parts.pipeline.ready(signal));
      if (!stay.has(text.certain)) {
        await stay.enter(text.certain);
        if (generation.options.reuse ?? true) await this.parts.keptPages?.restore(sequence);
        generation.begins(sequence.firstMissing(text.certain));
      }
      using speculation = drafts && this.#speculate(drafts);
      if (speculation) {
        const reason = await this.#continueSpeculatively(drafts, speculation, generation, stay);
        if (reason) return reason;
        if (signal.aborted) return 'cancelled';
        continue;
      }
      const token = await this.parts.batcher.next(sequence, stay.signal, generation.options);
      if (generation.tokens === 0) this.parts.onPromptRead?.();
      text.confirm(token);
      this.parts.keptPages?.keep(sequence);
      const reason = generation.add(token);
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

  /** @returns why the answer ends; undefined when it goes on in a batch, or later */
  async #continueSpeculatively(
    drafts: SequenceDrafts,
    speculation: Speculation,
    generation: Generation,
    stay: Stay,
  ): Promise<FinishReason | undefined> {
    const { maxTokens, isEnd } = generation.options;
    const decoder = new SpeculativeDecoder(this.parts.pipeline, this.#sequence, drafts, {
      maxTokens: maxTokens - generation.tokens,
      isEnd,
      mostTokens: this.parts.cells.mostTokens,
      hasCells: (cells) => stay.has(cells),
      isAhead: () => generation.isAhead,
      maxStepTokens: this.parts.chunkTokens,
      signal: AbortSignal.any([stay.signal, speculation.signal]),
      texts: () => speculation.count,
    });
    for await (const token of decoder.decode()) {
      this.parts.keptPages?.keep(this.#sequence);
      const reason = generation.add(token);
      if (reason) return reason;
    }
    return undefined;
  }

  /** The draft model reads the prompt while the stages do. */
  #prepareDrafts(): void {
    const drafts = this.#drafts;
    drafts?.source
      ?.prepare?.(this.#sequence.text)
      .catch((error: Error) => giveUpDrafts(drafts, error));
  }
}
