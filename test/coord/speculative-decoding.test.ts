import pino from 'pino';
import { expect, test } from 'vitest';
import { Conversation } from '../../coord/conversation.js';
import { FixedPlaces } from '../../coord/pages/fixed-places.js';
import type { SequenceDrafts } from '../../coord/speculative-decoder.js';
import { SchedulePlanner } from '../../speculative/planner.js';
import type { Schedule, ScheduleMode } from '../../speculative/schedule.js';
import { greedy } from '../../step/sampling.js';
import { testBatcher } from '../support/batcher.js';
import { choiceAfter, vocabulary } from '../support/deterministic-stage.js';
import { Random } from '../support/random.js';
import { RandomPipeline, scriptedDrafts } from '../support/random-pipeline.js';

const schedules = 10_000;
const context = 96;
const chunkTokens = 24;
const modes: readonly ScheduleMode[] = ['off', 'sync', 'pipelined', 'pipelined', 'pipelined'];

function randomSchedule(random: Random): Schedule {
  const mode = modes[random.between(0, modes.length - 1)] as ScheduleMode;
  if (mode === 'off') return { mode, sizes: [1], window: 1 };
  const sizes = Array.from({ length: random.between(1, 4) }, () => random.between(1, 16));
  return { mode, sizes, window: mode === 'sync' ? 1 : random.between(1, 8) };
}

test(`over ${schedules} random schedules no text diverges and no cell leaks`, async () => {
  let warnings = 0;
  const logger = pino({ level: 'warn' }, { write: () => void warnings++ });
  const pipelines = Array.from({ length: 50 }, (_, i) => new RandomPipeline(i, chunkTokens));
  const counts = {
    generations: 0,
    tokens: 0,
    accepted: 0,
    cancelled: 0,
    aborted: 0,
    failed: 0,
    rearranged: 0,
  };
  await Promise.all(
    pipelines.map(async (lanePipeline, lane) => {
      const { pipeline } = lanePipeline;
      const random = new Random(1000 + lane);
      const batcher = testBatcher(pipeline, chunkTokens, 2);
      // Every other one has states instead of cells, and few or many slots for them.
      const slots = lane % 2 === 0 ? 0 : 2 + (lane % 5);
      const cells = new FixedPlaces({
        context,
        cellsEach: context,
        conversations: 1,
        slotsEach: slots,
      });
      for (let i = 0; i < schedules / pipelines.length; i++) {
        const schedule = randomSchedule(random);
        const before = warnings;
        const drafts: SequenceDrafts = {
          planner: new SchedulePlanner(
            'auto',
            { stages: [], hopMs: 0, draftMs: 0, sharing: 1 },
            () => schedule,
          ),
          source: scriptedDrafts(random),
          count: ({ accepted, cancelledSteps }) => {
            counts.accepted += accepted;
            counts.cancelled += cancelledSteps;
          },
          logger,
        };
        const conversation = new Conversation({
          pipeline,
          cells,
          batcher,
          chunkTokens,
          drafts: () => drafts,
        });
        await converse(conversation, random, counts, () => lanePipeline.rearrange());
        expect(pipeline.inFlight).toBe(0);
        conversation.close();
        if (!drafts.source) counts.failed++;
        expect(warnings - before).toBeLessThanOrEqual(pipelines.length);
      }
    }),
  );
  await Promise.all(pipelines.map((each) => each.stop()));
  expect(warnings).toBe(counts.failed);
  // None of what is to be survived may be missing.
  for (const [name, count] of Object.entries(counts)) expect(count, name).toBeGreaterThan(50);
});

/** Two generations, the second over a text that shares a part of the first. */
async function converse(
  conversation: Conversation,
  random: Random,
  counts: { generations: number; tokens: number; aborted: number; rearranged: number },
  rearrange: () => void,
): Promise<void> {
  let prompt = Array.from({ length: random.between(1, 40) }, () =>
    random.between(0, vocabulary - 1),
  );
  for (let generation = 0; generation < 2; generation++) {
    const controller = new AbortController();
    const abortAfter = random.share() < 0.2 ? random.between(0, 12) : Infinity;
    const rearrangeAfter = random.share() < 0.1 ? random.between(0, 12) : Infinity;
    const end = random.between(0, vocabulary - 1);
    const maxTokens = random.between(1, 30);
    const tokens = conversation.generate(Int32Array.from(prompt), {
      sampling: greedy,
      maxTokens,
      isEnd: (token) => token === end,
      signal: controller.signal,
    });
    const text = [...prompt];
    let result = await tokens.next();
    for (; !result.done; result = await tokens.next()) {
      expect(result.value).toBe(choiceAfter(text));
      text.push(result.value);
      counts.tokens++;
      if (text.length - prompt.length > abortAfter) controller.abort();
      if (text.length - prompt.length === rearrangeAfter) {
        rearrange();
        counts.rearranged++;
      }
    }
    counts.generations++;
    const { finishReason, outputTokens } = result.value;
    expect(outputTokens).toBe(text.length - prompt.length);
    if (controller.signal.aborted && finishReason === 'cancelled') counts.aborted++;
    else expect(finishReason).toBe(expectedReason(text, prompt.length, end, maxTokens));
    // The cells hold a part of the text, all but its last token when it was not interrupted.
    expect(conversation.computedTokens).toBeLessThanOrEqual(text.length);
    if (finishReason !== 'cancelled') expect(conversation.computedTokens).toBe(text.length - 1);
    expect([...conversation.text.tokens]).toEqual(text);
    const kept = random.between(0, text.length);
    prompt = [...text.slice(0, kept), random.between(0, vocabulary - 1)].slice(0, context);
  }
}

function expectedReason(text: number[], promptTokens: number, end: number, maxTokens: number) {
  if (text.at(-1) === end && text.length > promptTokens) return 'stop';
  return text.length - promptTokens >= maxTokens ? 'length' : 'context';
}
