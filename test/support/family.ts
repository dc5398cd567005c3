import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'vitest';
import { textStep } from '../../bench/text-step.js';
import type { Engine, Stage } from '../../engine/engine.js';
import { readModelSizes } from '../../model/architectures/model.js';
import { writeGguf } from '../../model/gguf/writer.js';
import { syntheticModel } from '../../model/synthetic/synthetic-model.js';
import type { SyntheticShape } from '../../model/synthetic/shape.js';
import type { TensorSource } from '../../model/tensor-source.js';
import { openLlamaCpp } from './llama-cpp.js';
import { loadStages } from './local-stages.js';
import { relativeError } from './relative-error.js';
import { tinyShape } from './tiny-model.js';

/** Prompts, and how they are cut into steps. */
const prompts: readonly (readonly number[])[] = [[1], [37], [300], [128, 64, 108]];

/** Tokens that are read one by one after a prompt. */
const decoded = 5;

const cells = 512;

/** How far apart the two largest logits are, in deviations, where rounding decides nothing. */
const healthyMargin = 0.1;

/** A tiny model of a family, and what of it is held against llama.cpp. */
export interface FamilyTrial {
  /** What differs from `tinyShape`. */
  readonly shape: Partial<SyntheticShape> & Pick<SyntheticShape, 'architecture'>;
  readonly type: string;
  /** Layers of every stage, for several ways to split. */
  readonly splits: readonly (readonly number[])[];
  /** Most relative error of logits. */
  readonly bound: number;
}

/**
 * Expects the logits of llama.cpp after prompts of 1, 37 and 300 tokens and some tokens after them, in one chunk and in
 * several, on every split, and its choices wherever these are clear.
 */
export async function expectLlamaCpp(engine: Engine, trial: FamilyTrial): Promise<void> {
  const { shape, type, splits, bound } = trial;
  const model = syntheticModel({ ...tinyShape, ...shape }, type);
  const { vocabulary } = readModelSizes(model);
  const text = Array.from(
    { length: 300 + decoded },
    (_, i) => (i * 37 + 11 + (i % 7)) % vocabulary,
  );
  const expected = await llamaCppAnswers(model, vocabulary, text);
  for (const split of splits) {
    const stages = await loadStages(engine, model, split, cells);
    try {
      for (const [index, prompt] of prompts.entries()) {
        const given = await answers(stages, text, prompt);
        given.forEach((logits, i) => {
          const reference = expected[index]![i]!;
          const where = `split ${split.join('+')}, prompt ${prompt.join('+')}, token ${i}`;
          expect(relativeError(logits, reference), where).toBeLessThan(bound);
          if (margin(reference) > healthyMargin)
            expect(largest(logits), where).toBe(largest(reference));
        });
      }
    } finally {
      for (const stage of stages) stage.dispose();
    }
  }
}

/** Writes a model to a file of its own, for as long as an action takes. */
export async function withFile<Result>(
  model: TensorSource,
  action: (file: string) => Promise<Result> | Result,
): Promise<Result> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'daisychain-'));
  try {
    const file = path.join(folder, 'model.gguf');
    await writeGguf(file, model.metadata, [...model.tensors.values()], (...part) =>
      model.read(...part),
    );
    return await action(file);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** For every prompt, the logits after it and after each of the tokens that follow. */
async function llamaCppAnswers(
  model: TensorSource,
  vocabulary: number,
  text: readonly number[],
): Promise<Float32Array[][]> {
  return withFile(model, (file) =>
    prompts.map((prompt) => {
      const length = prompt.reduce((sum, count) => sum + count, 0);
      using evaluated = openLlamaCpp(file, vocabulary, cells);
      const parts = [text.slice(0, length), ...oneByOne(text, length)];
      return parts.map((part) => evaluated.logitsAfter(part));
    }),
  );
}

function oneByOne(text: readonly number[], first: number): number[][] {
  return Array.from({ length: decoded }, (_, i) => text.slice(first + i, first + i + 1));
}

async function answers(
  stages: readonly Stage[],
  text: readonly number[],
  prompt: readonly number[],
): Promise<Float32Array[]> {
  const given: Float32Array[] = [];
  let first = 0;
  for (const count of prompt) {
    given[0] = await lastLogits(stages, text, first, count);
    first += count;
  }
  for (let i = 0; i < decoded; i++) given.push(await lastLogits(stages, text, first + i, 1));
  return given;
}

/** The logits after tokens [first, first + count), which the stages read. */
async function lastLogits(
  stages: readonly Stage[],
  text: readonly number[],
  first: number,
  count: number,
): Promise<Float32Array> {
  const range = { start: 0, length: cells };
  const read = text.slice(0, first + count);
  const step = textStep(read, { first, cells: range, choices: 'last' });
  let hidden: Float32Array = new Float32Array(0);
  for (const stage of stages) {
    if (stage.shard.head) return stage.logits(step, hidden);
    const output = new Float32Array(count * stage.hiddenSize);
    await stage.forward(step, hidden, output);
    hidden = output;
  }
  throw new Error('no stage has the head');
}

function largest(logits: Float32Array): number {
  return logits.indexOf(Math.max(...logits));
}

function margin(logits: Float32Array): number {
  const [first = 0, second = 0] = logits.toSorted((a, b) => b - a);
  const mean = logits.reduce((sum, value) => sum + value, 0) / logits.length;
  const power = logits.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return (first - second) / Math.sqrt(power / logits.length);
}

/** Layers of one, two and three stages. */
export function splitsOf({ layers }: { readonly layers: number }): number[][] {
  return [[layers], [1, layers - 1], [1, layers - 2, 1]];
}
