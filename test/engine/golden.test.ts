import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { engineNames, type Stage } from '../../engine/engine.js';
import { openGguf } from '../../model/gguf/reader.js';
import type { TensorSource } from '../../model/tensor-source.js';
import { openTestEngine } from '../support/engines.js';
import {
  clearMargin,
  clearTokens,
  goldenCases,
  goldenModels,
  repositoryPath,
} from '../support/golden.js';
import { choices, generate, loadStages } from '../support/local-stages.js';

const runs = engineNames.flatMap((engine) => goldenModels.map((files) => ({ engine, ...files })));

describe.each(runs)('$model with $engine against llama.cpp', ({ engine, model, golden }) => {
  const cases = goldenCases(golden);
  let source: TensorSource;
  let stages: Stage[];

  beforeAll(async () => {
    source = await openGguf(repositoryPath(`models/${model}`));
    stages = await loadStages(openTestEngine(engine), source, [13, 3]);
  });
  afterAll(async () => {
    for (const stage of stages) stage.dispose();
    await source.close();
  });

  test.each(cases)('free: $prompt', async (golden) => {
    const expected = clearTokens(golden);
    expect(await generate(stages, golden.promptTokens, expected.length)).toEqual(expected);
  });

  test.each(cases)('teacher-forced: $prompt', async ({ promptTokens, tokens, margins }) => {
    const chosen = await choices(stages, [...promptTokens, ...tokens]);
    const after = chosen.subarray(promptTokens.length - 1);
    const clear = tokens.flatMap((_, i) => ((margins[i] as number) >= clearMargin ? [i] : []));
    expect(clear.map((i) => after[i])).toEqual(clear.map((i) => tokens[i]));
  });
});
