import { expect, test } from 'vitest';
import { causalBatch } from '../../../coord/step-builder.js';
import { greedy, type Stage } from '../../../engine/engine.js';
import { openGguf } from '../../../model/gguf/reader.js';
import { openTestEngine } from '../../support/engines.js';
import { goldenCases, repositoryPath } from '../../support/golden.js';
import { loadStages } from '../../support/local-stages.js';

const none = new Float32Array(0);
const text = goldenCases('demo-q8_0.json')
  .flatMap(({ promptTokens, tokens }) => [...promptTokens, ...tokens])
  .slice(0, 96);

/** Logits after every token, computed `count` tokens at a time. */
async function logitsInSteps(stage: Stage, count: number): Promise<Float32Array[]> {
  const rows: Float32Array[] = [];
  const range = { start: 37, length: 300 };
  for (let first = 0; first < text.length; first += count) {
    const outputs = Int32Array.from({ length: count }, (_, i) => i);
    const batch = causalBatch(text, first, count, range, outputs, greedy);
    const logits = await stage.logits(batch, none);
    for (let i = 0; i < count; i++) rows.push(logits.slice(i * 2048, (i + 1) * 2048));
  }
  return rows;
}

test.each(['demo.gguf', 'demo-q4_0.gguf'])(
  '%s: a token gets the same bits whatever it is computed with',
  async (model) => {
    const source = await openGguf(repositoryPath(`models/${model}`));
    const [stage] = await loadStages(openTestEngine('onnx'), source, [16]);
    if (!stage) throw new Error('no stage');
    const alone = await logitsInSteps(stage, 1);
    // Rounding changes the last bits, which 8-bit activations amplify to some hundredths of a logit.
    for (const count of [2, 3, 8, 32, 96])
      expect(await logitsInSteps(stage, count), `${count} at a time`).toEqual(alone);
    stage.dispose();
    await source.close();
  },
);
