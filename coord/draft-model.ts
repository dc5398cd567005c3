import type { Stage } from '../engine/engine.js';
import type { DraftSource } from '../speculative/draft-source.js';
import type { Turns } from '../stage/turns.js';
import { greedy, type Sampling } from '../step/sampling.js';
import type { Segment, StateSlots } from '../step/step.js';
import type { Mark, TokenText } from '../step/token-text.js';
import type { CellRange, Place } from './cells.js';
import { DraftPlaces } from './draft-places.js';
import { CoordinatorError } from './errors.js';
import { causalSegment } from './segments.js';
import { Sequence } from './sequence.js';
import { SequenceStates } from './sequence-states.js';

/** Tokens that a draft model reads at a time. */
export const draftChunk = 512;

/** Tokens that are drafted to learn how long one takes. */
const measuredTokens = 8;

/** What the model keeps of a text. */
export interface DraftMemory {
  /** Tokens that a text can lose without being computed anew; default: all. */
  readonly rewind?: number;
  /** Texts that it keeps at once; default 1. */
  readonly texts?: number;
  /** Cells of each. */
  readonly cellsEach: number;
  /** Slots of each for states, where its layers keep those; default: none. */
  readonly slotsEach?: number;
}

/** A small model that is held whole by the coordinator and drafts for all sequences, one at a time. */
export class DraftModel {
  #tokenMs = 0;
  #lastStep = 0;
  #closing: Promise<void> | undefined;
  readonly #places: DraftPlaces<ModelDraft>;

  private constructor(
    private readonly stage: Stage,
    readonly name: string,
    private readonly turns: Turns,
    private readonly memory: DraftMemory,
  ) {
    const { texts = 1, cellsEach, slotsEach = 0 } = memory;
    this.#places = new DraftPlaces(texts, cellsEach, slotsEach);
  }

  /** Milliseconds that a token takes when nothing else is computed. */
  get tokenMs(): number {
    return this.#tokenMs;
  }

  /**
   * Measures how long a token takes.
   * @param stage with all layers. It is the model's own now, and freed if this fails
   * @param turns of the device that it computes on
   * @throws EngineError
   */
  static async open(
    stage: Stage,
    name: string,
    turns: Turns,
    memory: DraftMemory,
  ): Promise<DraftModel> {
    const model = new DraftModel(stage, name, turns, memory);
    try {
      // Twice, as the first time is not typical.
      for (const first of [0, 1]) {
        const sequence = new Sequence();
        sequence.text.replace(Int32Array.of(first));
        const begin = performance.now();
        for await (const token of model
          .source(sequence)
          .draft(sequence.text, measuredTokens, greedy))
          sequence.text.guess(token);
        model.#tokenMs = (performance.now() - begin) / measuredTokens;
      }
      return model;
    } catch (error) {
      await model.close();
      throw error;
    }
  }

  source({ id, text }: Pick<Sequence, 'id' | 'text'>): DraftSource {
    return new ModelDraft(this, id, text, text.mark(this.memory.rewind));
  }

  /** Tokens that it can have of a text. */
  get mostTokens(): number {
    return this.memory.cellsEach;
  }

  /** Where the text of some drafts is kept, from now until others need the place. */
  placeOf(drafts: ModelDraft): ReturnType<DraftPlaces<ModelDraft>['use']> {
    return this.#places.use(drafts);
  }

  /**
   * Computes a segment, when the device's turn comes.
   * @param make gives it then; the choice after its last token is wanted. Undefined when there is nothing to compute
   * @returns that choice
   * @throws CoordinatorError 'cancelled' when the model is closed meanwhile, EngineError
   */
  compute(make: () => Segment | undefined): Promise<number | undefined> {
    return this.turns.take(async () => {
      if (this.#closing) throw new CoordinatorError('cancelled', 'the draft model was closed');
      const segment = make();
      if (!segment) return undefined;
      const step = { id: ++this.#lastStep, epoch: 0, segments: [segment] };
      const [result] = await this.stage.forward(step, nothing, nothing);
      return result?.choices[0];
    });
  }

  /** Waits for what is being computed, refuses what comes after, and frees the model. Idempotent. */
  close(): Promise<void> {
    return (this.#closing ??= this.turns.take(() => Promise.resolve(this.stage.dispose())));
  }
}

const nothing = new Float32Array(0);

/** The drafts of one sequence. */
class ModelDraft implements DraftSource {
  #states: SequenceStates;

  /** @param held leading tokens of the text whose keys and values are in the draft model's cells */
  constructor(
    private readonly model: DraftModel,
    private readonly sequence: number,
    private readonly text: TokenText,
    private readonly held: Mark,
  ) {
    this.#states = new SequenceStates(text, []);
  }

  get name(): string {
    return this.model.name;
  }

  async *draft(text: TokenText, count: number, sampling: Sampling): AsyncGenerator<number, void> {
    const first = text.length;
    for (let position = first; position < first + count; position++) {
      // Steps go first: the stages that wait for them have nothing else to do.
      await new Promise((resolve) => setImmediate(resolve));
      // A guess that was not taken has nothing that could follow it.
      if (position > this.model.mostTokens || position > text.length) return;
      const token = await this.#choiceAfter(text, position, sampling);
      if (token === undefined) return;
      yield token;
    }
  }

  async prepare(text: TokenText): Promise<void> {
    await this.#choiceAfter(text, Math.min(text.length, this.model.mostTokens), greedy);
  }

  /**
   * Computes what is missing of a text's first `length` tokens, or of those that it still has.
   * @returns what follows; undefined when it has none any more
   */
  async #choiceAfter(
    text: TokenText,
    length: number,
    sampling: Sampling,
  ): Promise<number | undefined> {
    for (;;) {
      let isLast = true;
      let passed: () => void = () => undefined;
      const token = await this.model.compute(() => {
        const end = Math.min(length, text.length);
        if (end === 0) return undefined;
        const { cells } = this.#place();
        // The last token is computed in any case, as its successor is wanted.
        const first = this.#states.before(Math.min(this.held.at, end - 1));
        const count = Math.min(draftChunk, end - first);
        isLast = first + count === end;
        const segment = this.#segment(text, first, count, cells, sampling);
        passed = () => this.#passed(text, first + count, segment.state);
        return segment;
      });
      passed();
      if (isLast) return token;
    }
  }

  #place(): Place {
    const { place, isNew } = this.model.placeOf(this);
    if (isNew) {
      this.held.at = 0;
      this.#states = new SequenceStates(this.text, place.slots);
    }
    return place;
  }

  /** Should the text lose tokens while they are computed, the mark goes back with it. */
  #segment(
    { tokens }: TokenText,
    first: number,
    count: number,
    cells: CellRange,
    sampling: Sampling,
  ): Segment {
    const { sequence } = this;
    this.held.at = first + count;
    return causalSegment({
      sequence,
      text: tokens,
      first,
      count,
      cells,
      sampling,
      choices: 'last',
      state: this.#states.take(first, first + count),
    });
  }

  /** Where guesses are wrong, drafts go on from a state behind certain tokens alone. */
  #passed({ certain }: TokenText, end: number, slots: StateSlots | undefined): void {
    if (end <= certain) this.#states.passed(end, slots);
  }
}
