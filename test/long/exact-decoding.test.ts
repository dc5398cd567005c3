import { afterAll, beforeAll, expect, test } from 'vitest';
import { textStep } from '../../bench/text-step.js';
import { engineNames } from '../../engine/engine.js';
import { openGguf } from '../../model/gguf/reader.js';
import type { TensorSource } from '../../model/tensor-source.js';
import { exactSource } from '../support/exact-source.js';
import { openTestEngine } from '../support/engines.js';
import { f64LogProbabilities, logSoftmax } from '../support/f64-reference.js';
import { goldenCases, repositoryPath } from '../support/golden.js';
import { loadStages } from '../support/local-stages.js';

/** Tokens before those that are decoded one by one. */
const before = 1500;
const decoded = 16;
const chunk = 512;
const context = 2048;

/** Tokens below 0.1 % do not matter: what f16 keys and values cost grows with the distance from the likeliest. */
const leastLog = Math.log(0.001);

const text = goldenCases('demo-q8_0.json')
  .flatMap(({ promptTokens, tokens }) => [...promptTokens, ...tokens])
  .slice(0, before + decoded);

let source: TensorSource;
let expected: Float64Array[];

beforeAll(async () => {
  source = exactSource(await openGguf(repositoryPath('models/demo.gguf')));
  expected = await f64LogProbabilities(source, text, decoded);
}, 600_000);
afterAll(() => source.close());

test.each(engineNames)(
  `%s decodes after ${before} tokens within 0.01 nats of what f64 gives`,
  async (name) => {
    expect(text).toHaveLength(before + decoded);
    const [stage] = await loadStages(openTestEngine(name), source, [16], context);
    if (!stage) throw new Error('no stage');
    const read = (first: number, count: number) =>
      stage.logits(
        textStep(text, { first, count, cells: { start: 0, length: context }, choices: 'last' }),
        new Float32Array(0),
      );
    for (let first = 0; first < before; first += chunk)
      await read(first, Math.min(chunk, before - first));
    let largest = 0;
    for (let i = 0; i < decoded; i++) {
      const actual = logSoftmax(await read(before + i, 1));
      expected[i]?.forEach((log, token) => {
        if (log < leastLog) return;
        largest = Math.max(largest, Math.abs(log - (actual[token] ?? NaN)));
      });
    }
    stage.dispose();
    expect(largest).toBeLessThan(0.01);
  },
);
