import { expect, test } from 'vitest';
import { Graph } from '../../../engine/onnx/graph/graph.js';
import { addFittingScales } from '../../../engine/onnx/graph/kv-scales.js';
import type { CacheKind } from '../../../engine/onnx/graph/kv-names.js';
import { providerNamed } from '../../../engine/onnx/providers.js';
import { bindOnnxRuntime, elementType } from '../../../engine/onnx/runtime/api.js';
import { fixed } from '../../../engine/onnx/runtime/fixed-arrays.js';
import { IoBinding } from '../../../engine/onnx/runtime/io-binding.js';
import { Session } from '../../../engine/onnx/runtime/session.js';
import { uniformSizes, type UniformSizes } from '../../../engine/onnx/uniform-sizes.js';
import { readModel } from '../../../model/architectures/model.js';
import { Random } from '../../support/random.js';
import { tinyModel } from '../../support/tiny-model.js';

const [tokens, kvHeads, headSize] = [7, 2, 32];
const features = kvHeads * headSize;

function sizesOf(architecture: 'llama' | 'qwen3', rotated = headSize): UniformSizes {
  const metadata = [[`${architecture}.rope.dimension_count`, rotated]] as const;
  const source = tinyModel('f32', { metadata }, { architecture });
  return uniformSizes(readModel(source));
}

/** What the graph makes of keys or values [tokens, features], and of scales that were found before. */
async function fittingScales(
  sizes: UniformSizes,
  kind: CacheKind,
  x: Float32Array,
  before: Float32Array,
): Promise<Float32Array> {
  const graph = new Graph();
  graph.input('x', elementType.f32, [1, 'n', features]);
  graph.input('before', elementType.f32, [features]);
  const scales = addFittingScales(graph, sizes, kind, 'x', 'before');
  graph.nodeWithOutputs('Identity', [scales], ['scales']);
  graph.output('scales', elementType.f32, [features]);
  const options = { runtime: bindOnnxRuntime(), provider: providerNamed('cpu'), threads: 1 };
  await using session = await Session.open(options, await graph.encode(), { folder: '' });
  using binding = new IoBinding(session);
  const found = fixed.f32(features);
  binding.input('x', x, [1, tokens, features]);
  binding.input('before', before, [features]);
  binding.output('scales', found, [features]);
  await binding.run();
  return found;
}

/** Which feature of a head each one is rotated with; itself where it is not. */
type Partner = (feature: number) => number;

const cases: readonly [string, UniformSizes, CacheKind, Partner][] = [
  ['values', sizesOf('qwen3'), 'values', (i) => i],
  ['keys of rotated halves', sizesOf('qwen3'), 'keys', (i) => (i + 16) % 32],
  ['keys of rotated neighbours', sizesOf('llama'), 'keys', (i) => i ^ 1],
  [
    'keys whose first 8 features are rotated',
    sizesOf('qwen3', 8),
    'keys',
    (i) => (i < 8 ? (i + 4) % 8 : i),
  ],
];

test.each(cases)('%s: scales leave room for twice the text, at any position', async (...run) => {
  const [, sizes, kind, partner] = run;
  const random = new Random(1);
  const x = fixed.f32(tokens * features).map(() => random.share() * 2 - 1);
  const before = fixed.f32(features).map((_, i) => (i % 3 === 0 ? 1 : 0));
  const found = await fittingScales(sizes, kind, x, before);
  for (let feature = 0; feature < features; feature++) {
    const [head, i] = [Math.floor(feature / headSize), feature % headSize];
    const reaches = Array.from({ length: tokens }, (_, token) => {
      const at = (j: number) => x[token * features + head * headSize + j] as number;
      return partner(i) === i ? Math.abs(at(i)) : Math.hypot(at(i), at(partner(i)));
    });
    const expected = Math.max(before[feature] as number, (2 * Math.max(...reaches)) / 127);
    expect(found[feature], `feature ${feature}`).toBeCloseTo(expected, 6);
  }
});

test('features that are always 0 have a scale that can be divided by', async () => {
  const zeros = () => fixed.f32(tokens * features);
  const found = await fittingScales(sizesOf('qwen3'), 'keys', zeros(), fixed.f32(features));
  expect(Math.min(...found)).toBeGreaterThan(0);
});
