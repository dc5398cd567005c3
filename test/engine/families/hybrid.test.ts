import { expect, test } from 'vitest';
import { openTestEngine } from '../../support/engines.js';
import { expectLlamaCpp } from '../../support/family.js';
import { tinyModel } from '../../support/tiny-model.js';
import { checkModel } from '../../../model/architectures/check-model.js';
import { tinyHybrid, tinyHybrids } from '../../../model/synthetic/hybrid-shapes.js';
import { syntheticModel } from '../../../model/synthetic/synthetic-model.js';

const ggml = openTestEngine('ggml');

/** Cuts between two layers that keep a state, before one that attends, and behind it. */
const splits = [[5], [3, 2], [1, 3, 1]];

test.each(
  Object.values(tinyHybrids).flatMap((shape) => [
    { shape, type: 'f32', bound: 1e-3 },
    { shape, type: 'q8_0', bound: 3e-2 },
  ]),
)('$shape.architecture in $type', (trial) => expectLlamaCpp(ggml, { ...trial, splits }));

test('qwen3next as older files have it', () => {
  const joined = { ...tinyHybrids['tiny-qwen3next']!, optional: /ssm_in\.weight$/ };
  expect(syntheticModel(joined, 'f32').tensors.has('blk.0.attn_qkv.weight')).toBe(false);
  return expectLlamaCpp(ggml, { shape: joined, type: 'f32', bound: 1e-3, splits: [[5]] });
});

test('heads that do not fit, and axes that a text does not have, are refused by name', () => {
  const withNumber = (name: string, value: number | number[]) => () =>
    checkModel(tinyModel('f32', { metadata: [[`qwen35.${name}`, value]] }, tinyHybrid));
  expect(withNumber('ssm.group_count', 3)).toThrow(/3 heads of keys cannot share 4 heads/);
  expect(withNumber('ssm.inner_size', 64)).toThrow(/4 heads of 32 values are not "ssm.inner_size"/);
  expect(withNumber('ssm.conv_kernel', 1)).toThrow(/ssm.conv_kernel/);
  expect(withNumber('rope.dimension_sections', [3, 3, 1, 1])).toThrow(/rope.dimension_sections/);
  expect(withNumber('attention.recurrent_layers', [1])).toThrow(/attention.recurrent_layers/);
});
