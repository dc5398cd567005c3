import { expect, test } from 'vitest';
import { queryTile } from '../../../engine/onnx/query-tile.js';
import { providerNamed } from '../../../engine/onnx/providers.js';
import { bindOnnxRuntime } from '../../../engine/onnx/runtime/api.js';
import { cutAroundBlocks, cutLoneRows } from '../../../engine/onnx/steps/parts.js';

test.each([
  [0, 63, undefined],
  [0, 64, [0, 64, 0]],
  [0, 512, [0, 512, 0]],
  [128, 100, [0, 64, 36]],
  [1, 126, undefined],
  [1, 127, [63, 64, 0]],
  [100, 300, [28, 256, 16]],
] as const)('from row %i, %i rows are cut around whole blocks of 64', (first, rows, parts) => {
  expect(cutAroundBlocks(first, rows)).toEqual(parts);
});

test.each([
  [1, undefined],
  [64, undefined],
  [65, [63, 2]],
  [66, undefined],
  [129, [127, 2]],
] as const)('%i rows are cut so that none is alone in a tile of 64', (rows, parts) => {
  expect(cutLoneRows(64)(5, rows)).toEqual(parts);
});

test.each([32, 64, 128])('heads of %i features: a tile of queries is found', async (headSize) => {
  const options = { runtime: bindOnnxRuntime(), provider: providerNamed('cpu'), threads: 1 };
  const tile = await queryTile(options, headSize);
  // Where a single row's kernel rounds like that for several, there is none to find.
  if (tile !== Infinity) expect(tile).toBeLessThanOrEqual(2 * headSize);
  expect(tile).toBeGreaterThan(1);
});
