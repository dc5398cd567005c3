import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Stage } from '../../engine/engine.js';
import { openGguf } from '../../model/gguf/reader.js';
import type { TensorSource } from '../../model/tensor-source.js';
import { computings, openTestEngine } from '../support/engines.js';
import {
  clearMargin,
  clearTokens,
  goldenCases,
  goldenModels,
  repositoryPath,
} from '../support/golden.js';
import { choices, generate, loadStages } from '../support/local-stages.js';

const runs = computings.flatMap((computing) =>
  goldenModels.map((files) => ({ ...computing, ...files })),
);

describe.each(runs)('$model with $engine, KV $kvType, against llama.cpp', (run) => {
  const { engine, kvType, model, golden } = run;
  const cases = goldenCases(golden);
  let source: TensorSource;
  let stages: Stage[];

  beforeAll(async () => {
    source = await openGguf(repositoryPath(`models/${model}`));
    stages = await loadStages(openTestEngine(engine), source, [13, 3], 512, kvType);
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
