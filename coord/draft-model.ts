import { greedy, type Sampling, type Stage } from '../engine/engine.js';
import type { DraftSource } from '../speculative/draft-source.js';
import type { CellRange } from './cells.js';
import { causalBatch } from './step-builder.js';

/** Tokens that a draft model reads at a time. */
export const draftChunk = 512;

/** Tokens that are drafted to learn how long one takes. */
const measuredTokens = 8;

/** A small model that is held whole by the coordinator and drafts for all conversations, one at a time. */
export class DraftModel {
  #last: Promise<unknown> = Promise.resolve();
  #tokenMs = 0;

  private constructor(
    private readonly stage: Stage,
    readonly name: string,
  ) {}

  /** Milliseconds that a token takes when nothing else is computed. */
  get tokenMs(): number {
    return this.#tokenMs;
  }

  /**
   * Measures how long a token takes.
   * @param stage with all layers; its cells are those of the target, conversation by conversation
   * @throws EngineError
   */
  static async open(stage: Stage, name: string): Promise<DraftModel> {
    const model = new DraftModel(stage, name);
    const drafts = model.source({ start: 0, length: measuredTokens + 1 });
    let begin = 0;
    // Twice, as the first time is not typical.
    for (let round = 0; round < 2; round++) {
      begin = performance.now();
      const tokens: number[] = [];
      for await (const token of drafts.draft([round], measuredTokens, greedy)) tokens.push(token);
    }
    model.#tokenMs = (performance.now() - begin) / measuredTokens;
    return model;
  }

  /** Drafts for the conversation that has these cells. */
  source(range: CellRange): DraftSource {
    return new ModelDraft(this, range);
  }

  /** Has the stage to itself, after whoever wanted it before. */
  async exclusively<Result>(use: (stage: Stage) => Promise<Result>): Promise<Result> {
    const turn = this.#last.then(() => use(this.stage));
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  /** Waits for what is being drafted, and frees the model. */
  async close(): Promise<void> {
    await this.exclusively((stage) => Promise.resolve(stage.dispose()));
  }
}

/** The drafts of one conversation. Cells follow the text: what it loses is computed anew, nothing else. */
class ModelDraft implements DraftSource {
  /** Tokens whose keys and values are in the draft model's cells. */
  #held: number[] = [];

  constructor(
    private readonly model: DraftModel,
    private readonly range: CellRange,
  ) {}

  get name(): string {
    return this.model.name;
  }

  async *draft(
    text: readonly number[],
    count: number,
    sampling: Sampling,
  ): AsyncGenerator<number, void> {
    const drafting = [...text];
    for (let i = 0; i < count && drafting.length <= this.range.length; i++) {
      // Steps go first: the stages that wait for them have nothing else to do.
      await new Promise((resolve) => setImmediate(resolve));
      const token = await this.#next(drafting, sampling);
      drafting.push(token);
      yield token;
    }
  }

  async prepare(text: readonly number[]): Promise<void> {
    await this.#next(text.slice(0, this.range.length), greedy);
  }

  /** Computes what is missing of a text. @returns the choice after its last token */
  #next(text: readonly number[], sampling: Sampling): Promise<number> {
    return this.model.exclusively((stage) =>
      this.#compute(stage, text, firstMissing(this.#held, text), sampling),
    );
  }

  /** Computes a text's tokens from `first` on. @returns the choice after the last one */
  async #compute(
    stage: Stage,
    text: readonly number[],
    first: number,
    sampling: Sampling,
  ): Promise<number> {
    this.#held.length = first;
    const count = Math.min(draftChunk, text.length - first);
    const isLast = first + count === text.length;
    const outputs = isLast ? Int32Array.of(count - 1) : new Int32Array(0);
    const batch = causalBatch(text, first, count, this.range, outputs, sampling);
    const [token] = await stage.forward(batch, noHidden, noHidden);
    for (let i = first; i < first + count; i++) this.#held.push(text[i] as number);
    return isLast ? (token as number) : this.#compute(stage, text, first + count, sampling);
  }
}

const noHidden = new Float32Array(0);

/** Where a text differs from the tokens held; the last token always does, as its successor is wanted. */
function firstMissing(held: readonly number[], text: readonly number[]): number {
  const most = Math.min(held.length, text.length - 1);
  let same = 0;
  while (same < most && held[same] === text[same]) same++;
  return same;
}
