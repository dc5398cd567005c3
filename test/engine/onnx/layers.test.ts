import { expect, test } from 'vitest';
import { textStep } from '../../../bench/text-step.js';
import type { EngineName } from '../../../engine/engine.js';
import { openGguf } from '../../../model/gguf/reader.js';
import type { TensorSource } from '../../../model/tensor-source.js';
import { openTestEngine } from '../../support/engines.js';
import { exactSource } from '../../support/exact-source.js';
import { goldenCases, repositoryPath } from '../../support/golden.js';
import { relativeError } from '../../support/relative-error.js';

const layers = 16;

/** The hidden states that every layer of the demo model gives, fed with those of its own predecessor. */
async function hiddenStates(
  engine: EngineName,
  source: TensorSource,
  text: readonly number[],
): Promise<Float32Array[]> {
  const step = textStep(text, { cells: { start: 0, length: 512 }, choices: 'none' });
  const states: Float32Array[] = [];
  for (let layer = 0; layer < layers; layer++) {
    const stage = await openTestEngine(engine).load({
      source,
      shard: { firstLayer: layer, endLayer: layer + 1, embedding: layer === 0, head: false },
      cells: 512,
      kvType: 'f16',
      maxStepRows: 512,
    });
    const output = new Float32Array(text.length * stage.hiddenSize);
    await stage.forward(step, states.at(-1) ?? new Float32Array(0), output);
    states.push(output);
    stage.dispose();
  }
  return states;
}

test.each([
  ['f32 weights and activations', exactSource, 1e-3],
  ['Q8_0, both with 8-bit activations', (source: TensorSource) => source, 1e-2],
])('every layer gives what the ggml engine gives: %s', async (_, sourceOf, bound) => {
  const source = sourceOf(await openGguf(repositoryPath('models/demo.gguf')));
  const [golden] = goldenCases('demo-q8_0.json').slice(2);
  const text = [...(golden?.promptTokens ?? []), ...(golden?.tokens ?? [])];
  const expected = await hiddenStates('ggml', source, text);
  const actual = await hiddenStates('onnx', source, text);
  const errors = actual.map((state, i) => relativeError(state, expected[i] as Float32Array));
  expect(errors).toHaveLength(layers);
  expect(Math.max(...errors)).toBeLessThan(bound);
  expect(Math.min(...errors)).toBeGreaterThan(0);
  await source.close();
});
