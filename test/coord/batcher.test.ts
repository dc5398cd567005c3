import { describe, expect, test } from 'vitest';
import type { Batcher } from '../../coord/batcher.js';
import { Conversation } from '../../coord/conversation.js';
import { CellPool } from '../../coord/pages/cell-pool.js';
import { FixedPlaces } from '../../coord/pages/fixed-places.js';
import type { TextCells } from '../../coord/pages/text-cells.js';
import type { CoordinatorError } from '../../coord/errors.js';
import type { FinishReason } from '../../coord/generation.js';
import type { SequenceDrafts } from '../../coord/speculative-decoder.js';
import { Pipeline } from '../../coord/pipeline.js';
import { SchedulePlanner } from '../../speculative/planner.js';
import type { SegmentId } from '../../stage/wanted-segments.js';
import { greedy } from '../../step/sampling.js';
import type { PageCopy } from '../../step/pages.js';
import type { Step } from '../../step/step.js';
import { testBatcher } from '../support/batcher.js';
import { choiceAfter, vocabulary } from '../support/deterministic-stage.js';
import { Random } from '../support/random.js';
import { RandomPipeline, scriptedDrafts } from '../support/random-pipeline.js';
import { silent } from '../support/silent.js';

const lanes = 24;
const conversationsEach = 6;
const answersEach = 6;
const context = 160;
const chunkTokens = 64;

function placesFor(slotsEach: number): FixedPlaces {
  return new FixedPlaces({
    context,
    cellsEach: context,
    conversations: conversationsEach,
    slotsEach,
  });
}

/** Conversations that come and go over stages of their own. */
class Lane {
  readonly random: Random;
  readonly stages: RandomPipeline;
  readonly batcher: Batcher;
  readonly cells: TextCells;
  /** Tokens that all prompts begin with. */
  readonly beginning: Int32Array;
  accepted = 0;
  readonly reasons: FinishReason[] = [];

  constructor(seed: number) {
    this.random = new Random(seed);
    this.stages = new RandomPipeline(500 + seed, chunkTokens);
    this.batcher = testBatcher(this.stages.pipeline, chunkTokens, 2);
    // Every third one has states instead of cells, and another one cells that texts share, which are too few.
    this.cells = seed % 3 === 1 ? this.#sharedCells() : placesFor(seed % 3 ? 0 : 3 + (seed % 4));
    const length = this.cells instanceof CellPool ? 200 : 0;
    this.beginning = Int32Array.from({ length }, (_, i) => i % vocabulary);
  }

  async run(): Promise<void> {
    await Promise.all(Array.from({ length: conversationsEach }, () => this.#converse()));
    await this.stages.stop();
  }

  #sharedCells(): CellPool {
    const copy = (copies: readonly PageCopy[]) => void this.#copy(copies);
    return new CellPool({ pages: 6, context: 2 * context + 200, copy });
  }

  async #copy(copies: readonly PageCopy[]): Promise<void> {
    const code = await this.stages.pipeline.move(copies).then(
      () => undefined,
      (error: CoordinatorError) => error.code,
    );
    expect([undefined, 'route']).toContain(code);
  }

  /** Asks again and again, half of the time for what goes on from the last answer. */
  async #converse(): Promise<void> {
    const { random, cells, batcher } = this;
    const { pipeline } = this.stages;
    const drafts = () => this.#drafts();
    const conversation = new Conversation({ pipeline, batcher, cells, chunkTokens, drafts });
    for (let answer = 0; answer < answersEach; answer++) {
      await pause(random.between(0, 30));
      const { length } = this.beginning;
      const kept =
        random.share() < 0.5 && conversation.text.certain > length
          ? conversation.text.tokens.slice(0, length + 90)
          : this.beginning;
      const added = Int32Array.from(
        { length: random.between(1, random.share() < 0.2 ? 70 : 8) },
        () => random.between(0, vocabulary - 1),
      );
      await this.#answer(conversation, Int32Array.from([...kept, ...added]));
    }
    conversation.close();
  }

  async #answer(conversation: Conversation, prompt: Int32Array): Promise<void> {
    const { random } = this;
    const stop = new AbortController();
    const [stopAfter, rearrangeAfter] = [0.25, 0.05].map((share) =>
      random.share() < share ? random.between(0, 10) : Infinity,
    );
    if (stopAfter === 0) setImmediate(() => stop.abort());
    const tokens = conversation.generate(prompt, {
      sampling: greedy,
      maxTokens: random.between(1, 40),
      isEnd: () => false,
      speculate: random.share() < 0.7,
      priority: random.between(0, 2),
      signal: stop.signal,
    });
    const text = [...prompt];
    let result = await tokens.next();
    for (; !result.done; result = await tokens.next()) {
      expect(result.value).toBe(choiceAfter(text));
      text.push(result.value);
      const count = text.length - prompt.length;
      if (count === stopAfter) stop.abort();
      if (count === rearrangeAfter) {
        this.stages.rearrange();
        this.cells.forget();
      }
      if (random.share() < 0.02) await pause(20);
    }
    this.reasons.push(result.value.finishReason);
    expect([...conversation.text.tokens]).toEqual(text);
    if (result.value.finishReason !== 'cancelled' && this.cells instanceof FixedPlaces)
      expect(conversation.computedTokens).toBe(text.length - 1);
  }

  #drafts(): SequenceDrafts {
    const costs = { stages: [], hopMs: 0, draftMs: 0, sharing: 1 };
    return {
      planner: new SchedulePlanner('auto', costs, () => ({
        mode: 'pipelined',
        sizes: [1, 3],
        window: 3,
      })),
      source: scriptedDrafts(this.random),
      count: ({ accepted }) => (this.accepted += accepted),
      logger: silent,
    };
  }
}

async function pause(turns: number): Promise<void> {
  for (; turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
}

test('conversations that join, leave, speculate and lose their stages get their own texts', async () => {
  const all = Array.from({ length: lanes }, (_, seed) => new Lane(seed));
  await Promise.all(all.map((lane) => lane.run()));
  const reasons = all.flatMap((lane) => lane.reasons);
  expect(reasons).toHaveLength(lanes * conversationsEach * answersEach);
  expect(reasons.filter((reason) => reason === 'cancelled').length).toBeGreaterThan(50);
  expect(all.reduce((sum, { accepted }) => sum + accepted, 0)).toBeGreaterThan(50);
  expect(all.reduce((sum, { cells }) => sum + cells.stats.preemptions, 0)).toBeGreaterThan(10);
  for (const { batcher, stages, cells } of all) {
    expect(cells.stats.reserved).toBe(0);
    expect(batcher.stats.rowsPerStep).toBeGreaterThan(1.2);
    expect(stages.pipeline.inFlight).toBe(0);
  }
});

/** A route that keeps steps until it is told what becomes of them. */
class ManualRoute {
  readonly pipeline = new Pipeline();
  readonly batcher = testBatcher(this.pipeline, 2 * chunkTokens);
  readonly cells = placesFor(0);
  readonly steps: Step[] = [];
  readonly cancelled: SegmentId[] = [];

  constructor() {
    this.pipeline.use({
      epoch: 1,
      submit: (step) => void this.steps.push(step),
      cancel: (segments) => void this.cancelled.push(...segments),
    });
    this.pipeline.resume();
  }

  ask(maxTokens: number, prompt = [1], signal?: AbortSignal): Promise<number[]> {
    const { pipeline, batcher, cells } = this;
    const conversation = new Conversation({ pipeline, batcher, cells, chunkTokens });
    const options = { sampling: greedy, maxTokens, isEnd: () => false };
    return all(
      conversation.generate(Int32Array.from(prompt), { ...options, ...(signal ? { signal } : {}) }),
    );
  }

  /** The oldest step is back, less what was cancelled of it. @returns sequences in it */
  comeBack(): number[] {
    const step = this.steps.shift() as Step;
    const sequences = step.segments
      .map(({ sequence }) => sequence)
      .filter((id) => !this.cancelled.some((of) => of.step === step.id && of.sequence === id));
    const choices = Int32Array.of(7);
    this.pipeline.finished(
      step,
      sequences.map((sequence) => ({ sequence, choices })),
    );
    return sequences;
  }
}

async function all(tokens: AsyncIterable<number>): Promise<number[]> {
  const read: number[] = [];
  for await (const token of tokens) read.push(token);
  return read;
}

/** Lets everybody have a turn who does not wait for the event loop. */
async function thisTurn(): Promise<void> {
  for (let i = 0; i < 50; i++) await Promise.resolve();
}

/** Four sequences in one step, over one stage. */
async function four(
  lengths: readonly number[],
  signal?: AbortSignal,
): Promise<{ route: ManualRoute; answers: Promise<number[]>[] }> {
  const route = new ManualRoute();
  const answers = lengths.map((length, i) => route.ask(length, [1], i === 3 ? signal : undefined));
  await thisTurn();
  // The first one was alone.
  expect(route.comeBack()).toHaveLength(1);
  await thisTurn();
  expect(route.steps.map(({ segments }) => segments.length)).toEqual([4]);
  return { route, answers };
}

describe('steps that several share', () => {
  test('follow each other within one turn of the event loop', async () => {
    const { route, answers } = await four([4, 3, 3, 3]);
    for (let step = 0; step < 2; step++) {
      expect(route.comeBack()).toHaveLength(4);
      await thisTurn();
      expect(route.steps.map(({ segments }) => segments.length)).toEqual([4]);
    }
    route.comeBack();
    expect((await Promise.all(answers)).map(({ length }) => length)).toEqual([4, 3, 3, 3]);
  });

  test('go on without those whose answer has ended', async () => {
    const { route, answers } = await four([3, 3, 3, 1]);
    route.comeBack();
    await answers[3];
    await pause(2);
    expect(route.steps.map(({ segments }) => segments.length)).toEqual([3]);
  });

  test('are computed without whoever has cancelled, and the others go on', async () => {
    const stop = new AbortController();
    const { route, answers } = await four([3, 3, 3, 9], stop.signal);
    const [step] = route.steps as [Step];
    stop.abort();
    expect(await answers[3]).toEqual([]);
    // The first one asked again behind it.
    expect(route.cancelled).toEqual([{ step: step.id, sequence: step.segments.at(-2)?.sequence }]);
    expect(route.comeBack()).toHaveLength(3);
    await pause(2);
    expect(route.steps.map(({ segments }) => segments.length)).toEqual([3]);
  });

  test('that fail fail all their sequences, and nobody else', async () => {
    const { route, answers } = await four([3, 3, 3, 3]);
    route.pipeline.failed(route.steps.shift() as Step, new Error('the stage broke'));
    for (const answer of answers) await expect(answer).rejects.toThrow('the stage broke');
    const other = route.ask(1);
    await pause(2);
    route.comeBack();
    expect(await other).toEqual([7]);
  });

  test('are of their own for parts of a text, which are short beside others', async () => {
    const { route, answers } = await four([9, 9, 9, 9]);
    const long = route.ask(1, new Array<number>(150).fill(1));
    await thisTurn();
    const rows = () => route.steps.map(({ segments }) => segments.map((of) => of.tokens.length));
    expect(rows()).toEqual([[1, 1, 1, 1], [64], [86]]);
    route.comeBack();
    route.comeBack();
    route.comeBack();
    expect(await long).toEqual([7]);
    expect(answers).toHaveLength(4);
  });
});
