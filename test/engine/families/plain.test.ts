import { describe, test } from 'vitest';
import { plainShapes } from '../../../model/synthetic/plain-shapes.js';
import { openTestEngine } from '../../support/engines.js';
import { expectLlamaCpp, splitsOf } from '../../support/family.js';

const ggml = openTestEngine('ggml');

describe.each([
  ['f32', 1e-3],
  ['q8_0', 3e-2],
] as const)('in %s', (type, bound) => {
  test.each(Object.values(plainShapes))('$architecture', (shape) =>
    expectLlamaCpp(ggml, { shape, type, splits: splitsOf(shape), bound }),
  );
});
