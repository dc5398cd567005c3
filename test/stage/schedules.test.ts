import { describe, expect, test } from 'vitest';
import { StageRunner } from '../../stage/stage-runner.js';
import { Turns } from '../../stage/turns.js';
import type { Segment, Step } from '../../step/step.js';
import { Tracer } from '../../transport/protocol/tracer.js';
import { choiceAfter, DeterministicStage, vocabulary } from '../support/deterministic-stage.js';
import { Random } from '../support/random.js';
import { cellsEach, segmentOf } from './support/segments.js';

/** A segment that was submitted, and what must come of it. */
interface Submitted {
  readonly step: number;
  readonly segment: Segment;
  readonly choices: readonly number[];
  /** It builds on a guess that the last stage will find to be wrong. */
  readonly isRefuted: boolean;
  isCancelled: boolean;
}

/** More than steps have that may overtake. */
const longRows = 18;

/** What a coordinator knows of a sequence: a text, and the segments in flight that it was made of. */
class Sequence {
  readonly submitted: Submitted[] = [];
  #text: number[] = [];
  #last: Submitted | undefined;

  constructor(
    readonly id: number,
    private readonly random: Random,
  ) {}

  get hasRoom(): boolean {
    return this.#text.length < cellsEach - 4;
  }

  /** Adds a few tokens, most of which are what the model will choose, or many. */
  next(step: number): Segment {
    const first = this.#text.length;
    const isLong = this.random.share() < 0.2 && first + longRows < cellsEach;
    for (let count = isLong ? longRows : this.random.between(1, 3); count > 0; count--)
      this.#text.push(
        isLong || this.random.share() < 0.8
          ? choiceAfter(this.#text)
          : this.random.between(0, vocabulary - 1),
      );
    const segment = segmentOf(this.#text, first, this.id, this.#last?.step ?? 0);
    const choices = [...segment.tokens].map((_, i) =>
      choiceAfter(this.#text.slice(0, first + i + 1)),
    );
    const isRefuted = this.#last !== undefined && isWrong(this.#last, segment.tokens[0]);
    this.#last = { step, segment, choices, isRefuted, isCancelled: false };
    this.submitted.push(this.#last);
    return segment;
  }

  /** Cancels one of the last segments and all that build on it. */
  cancel(): { step: number; sequence: number }[] {
    const count = this.random.between(1, 4);
    const dropped = this.submitted.slice(-count).filter(({ isCancelled }) => !isCancelled);
    if (dropped.length < count || this.submitted.length <= count) return [];
    for (const submitted of dropped) submitted.isCancelled = true;
    const before = this.submitted.at(-count - 1);
    if (!before || before.isCancelled) return this.#restart(dropped);
    this.#text = this.#text.slice(0, dropped[0]?.segment.positions[0]);
    this.#last = before;
    return ids(dropped);
  }

  #restart(dropped: readonly Submitted[]): { step: number; sequence: number }[] {
    this.#text = [];
    this.#last = undefined;
    return ids(dropped);
  }
}

function ids(submitted: readonly Submitted[]): { step: number; sequence: number }[] {
  return submitted.map(({ step, segment: { sequence } }) => ({ step, sequence }));
}

function isWrong({ segment, choices, isRefuted }: Submitted, next: number | undefined): boolean {
  return isRefuted || choices.some((choice, i) => choice !== (segment.tokens[i + 1] ?? next));
}

/** Two stages of one device, joined without a link. */
function twoStages(random: Random, results: Map<string, number[][]>, failures: string[]) {
  const turns = new Turns();
  const delay = async () => {
    for (let i = random.between(0, 4); i > 0; i--)
      await new Promise((resolve) => setImmediate(resolve));
  };
  const held = { count: 0 };
  const options = { maxStepRows: 64, turns, tracer: new Tracer() };
  const fail = ({ id }: Step, { message }: Error) => void failures.push(`${id}: ${message}`);
  const last = new StageRunner(
    new DeterministicStage(true, delay),
    {
      forward: () => undefined,
      fail,
      finish: ({ id }, segments) => {
        for (const { sequence, choices } of segments) {
          const key = `${id} ${sequence}`;
          results.set(key, [...(results.get(key) ?? []), [...choices]]);
        }
      },
    },
    options,
  );
  const first = new StageRunner(
    new DeterministicStage(false, delay),
    {
      finish: () => undefined,
      fail,
      forward: (step, hidden) => {
        held.count++;
        last.enqueue(step, hidden.slice(), () => held.count--);
      },
    },
    options,
  );
  return { first, last, turns, delay, held };
}

async function runSchedule(seed: number): Promise<void> {
  const random = new Random(seed);
  const results = new Map<string, number[][]>();
  const failures: string[] = [];
  const { first, last, turns, delay, held } = twoStages(random, results, failures);
  const sequences = [1, 2, 3].map((id) => new Sequence(id, random));
  for (let step = 1; step <= 40; step++) {
    const taking = sequences.filter((sequence) => sequence.hasRoom && random.share() < 0.7);
    const segments = taking.map((sequence) => sequence.next(step));
    if (segments.length > 0) {
      held.count++;
      first.enqueue({ id: step, epoch: 1, segments }, new Float32Array(0), () => held.count--);
    }
    if (random.share() < 0.3) void turns.take(delay);
    if (random.share() < 0.5) await delay();
    for (const sequence of sequences) {
      if (random.share() > 0.2) continue;
      const dropped = sequence.cancel();
      first.cancel(dropped);
      last.cancel(dropped);
    }
  }
  while (held.count > 0) await delay();
  await first.stop();
  await last.stop();
  expect(failures).toEqual([]);
  for (const { submitted } of sequences) for (const segment of submitted) check(segment, results);
}

function check(submitted: Submitted, results: ReadonlyMap<string, number[][]>): void {
  const { step, segment, choices, isRefuted, isCancelled } = submitted;
  const got = results.get(`${step} ${segment.sequence}`) ?? [];
  if (isRefuted) expect(got).toEqual([]);
  else if (isCancelled && got.length === 0) return;
  else expect(got).toEqual([choices]);
}

describe('stages that are told to drop segments at any moment', () => {
  test.each(Array.from({ length: 100 }, (_, seed) => seed))(
    'give every other segment its result, and refuted ones none: schedule %i',
    runSchedule,
  );
});
