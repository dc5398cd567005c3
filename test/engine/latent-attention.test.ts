import { expect, test } from 'vitest';
import { textStep } from '../../bench/text-step.js';
import type { KvType, Stage } from '../../engine/engine.js';
import { productCells } from '../../engine/ggml/attention/product-attention.js';
import { checkModel } from '../../model/architectures/check-model.js';
import { layerMemory } from '../../model/architectures/layer.js';
import { randomTokens } from '../../model/random-tokens.js';
import { tinyLatent } from '../../model/synthetic/latent-shapes.js';
import { syntheticModel } from '../../model/synthetic/synthetic-model.js';
import { openTestEngine } from '../support/engines.js';
import { loadStages } from '../support/local-stages.js';
import { relativeError } from '../support/relative-error.js';
import { tinyModel } from '../support/tiny-model.js';

const ggml = openTestEngine('ggml');
const cells = 256;
/** Without experts, whose choice rounding may change. */
const tiny = () =>
  tinyModel(
    'f32',
    {},
    {
      ...tinyLatent,
      numbers: { ...tinyLatent.numbers, leading_dense_block_count: 3 },
    },
  );

async function load(kvType: KvType): Promise<Stage> {
  const [stage] = await loadStages(ggml, tiny(), [3], cells, kvType);
  return stage!;
}

test('DeepSeek V3 keeps 576 numbers of every token in a layer', () => {
  const { layers } = checkModel(syntheticModel('deepseek-v3', 'q4_0'));
  expect(layers).toHaveLength(61);
  for (const layer of layers)
    expect(layerMemory(layer)).toEqual({ kind: 'cells', keyElements: 576, valueElements: 0 });
});

test('that is all the memory that there is for cells', async () => {
  const stage = await load('f16');
  const [layers, elements, bytes] = [3, 96, 2];
  expect(stage.memory.kv).toBe(layers * productCells(cells) * elements * bytes);
  stage.dispose();
});

test('with 8 bits of every number, logits differ little', async () => {
  // A prompt with whole tiles, and a rest.
  const tokens = randomTokens(150, 300);
  const step = textStep(tokens, { cells: { start: 0, length: cells } });
  const [exact, small] = [await load('f16'), await load('q8_0')];
  const logits = async (stage: Stage) => stage.logits(step, new Float32Array(0));
  expect(relativeError(await logits(small), await logits(exact))).toBeLessThan(0.1);
  exact.dispose();
  small.dispose();
});

interface Refusal {
  readonly key: string;
  /** Undefined where it is missing. */
  readonly value?: string | number;
  readonly message: RegExp;
}

const refusals: readonly Refusal[] = [
  { key: 'deepseek2.attention.key_length_mla', message: /key_length_mla" is missing/ },
  { key: 'deepseek2.attention.kv_lora_rank', value: 0, message: /kv_lora_rank" is 0/ },
  { key: 'deepseek2.rope.scaling.type', value: 'linear', message: /scaling.type" is not yarn/ },
  { key: 'general.architecture', value: 'deepseek32', message: /"deepseek32": supported are/ },
  { key: 'general.architecture', value: 'glm-dsa', message: /"glm-dsa": supported are/ },
];

test.each(refusals)('$key $value is refused by name', ({ key, value, message }) => {
  const { metadata, tensors } = tiny();
  const changed = new Map(metadata);
  if (value === undefined) changed.delete(key);
  else changed.set(key, value);
  expect(() => checkModel({ metadata: changed, tensors })).toThrow(message);
});

test('experts of GLM 4.7 Flash are refused where the file does not say how they are scored', () => {
  const { metadata, tensors } = tiny();
  const changed = new Map([...metadata, ['deepseek2.block_count', 47]] as const);
  changed.delete('deepseek2.expert_gating_func');
  expect(() => checkModel({ metadata: changed, tensors })).toThrow(
    /expert_gating_func" is missing/,
  );
});
