import { createHash } from 'node:crypto';
import { expect } from 'vitest';
import { causalSegment } from '../../coord/segments.js';
import type { Stage } from '../../engine/engine.js';
import { randomTokens } from '../../model/random-tokens.js';
import { greedy } from '../../step/sampling.js';
import { rowsOfStep, type Segment, type Step } from '../../step/step.js';

/** Cells of the stages that `expectBitsAlone` is for. */
export const segmentCells = 1536;

const vocabulary = 300;
const sampled = { ...greedy, temperature: 0.8, topP: 0.95, repetitionPenalty: 1.1, seed: 7 };

/** Sequences in cells of their own: how much of each is there already, and how many rows come next. */
const sequences = [
  { start: 0, length: 512, past: 300, sampling: greedy },
  { start: 512, length: 256, past: 40, sampling: sampled },
  { start: 768, length: 700, past: 511, sampling: greedy },
  { start: 1468, length: 64, past: 0, sampling: sampled },
].map((of, i) => ({ ...of, sequence: i + 1, text: randomTokens(700, vocabulary).slice(i * 7) }));

function segmentOf(index: number, first: number, count: number): Segment {
  const { sequence, start, length, text, sampling } = sequences[index]!;
  const cells = { start, length };
  return causalSegment({ sequence, text, first, count, cells, choices: 'all', sampling });
}

function stepOf(...segments: Segment[]): Step {
  return { id: 1, epoch: 1, segments };
}

/** What a segment gets: digests of its rows of hidden states at every split and of its logits; and the choices. */
interface Outcome {
  readonly hidden: readonly string[];
  readonly logits: string;
  readonly choices: Int32Array;
}

/** @returns what each segment of a step gets */
async function compute(stages: readonly Stage[], ...segments: Segment[]): Promise<Outcome[]> {
  const step = stepOf(...segments);
  const firstRows = segments.map((_, i) => rowsOfStep(stepOf(...segments.slice(0, i))));
  const part = (values: Float32Array, i: number) => {
    const size = values.length / rowsOfStep(step);
    const first = firstRows[i]!;
    const rows = values.subarray(first * size, (first + segments[i]!.tokens.length) * size);
    return createHash('sha256').update(rows).digest('hex');
  };
  const hidden: Float32Array[] = [];
  for (const stage of stages) {
    const incoming = hidden.at(-1) ?? new Float32Array(0);
    if (stage.shard.head) {
      const logits = await stage.logits(step, incoming);
      const results = await stage.forward(step, incoming, new Float32Array(0));
      return results.map(({ choices }, i) => ({
        hidden: hidden.map((values) => part(values, i)),
        logits: part(logits, i),
        choices,
      }));
    }
    const output = new Float32Array(rowsOfStep(step) * stage.hiddenSize);
    await stage.forward(step, incoming, output);
    hidden.push(output);
  }
  throw new Error('no stage has the head');
}

/**
 * Expects segments to get the bits that they get alone, whatever else is in their step.
 * @param stages of one model, with `segmentCells` cells
 */
export async function expectBitsAlone(stages: readonly Stage[]): Promise<void> {
  for (const [i, { past }] of sequences.entries())
    if (past > 0) await compute(stages, segmentOf(i, 0, past));
  for (const counts of [
    [4, 1, 7, 0],
    [1, 1, 1, 1],
    [2, 7, 3, 4],
  ]) {
    const segments = counts.flatMap((count, i) =>
      count > 0 ? [segmentOf(i, sequences[i]!.past, count)] : [],
    );
    const alone: Outcome[] = [];
    for (const segment of segments) alone.push(...(await compute(stages, segment)));
    expect(await compute(stages, ...segments), `${counts}`).toEqual(alone);
    const turned = await compute(stages, ...segments.toReversed());
    expect(turned, `${counts} turned`).toEqual(alone.toReversed());
  }
}
