import { describe, expect, test } from 'vitest';
import { chunkSize, slowestStage } from '../../coord/chunk-size.js';

/** Time of a prompt in chunks, simulated step by step: a stage begins a chunk when it and the chunk are ready. */
function simulate(
  tokens: number,
  stages: number,
  chunk: number,
  fixedMs: number,
  perTokenMs: number,
): number {
  const free = new Array<number>(stages).fill(0);
  let done = 0;
  for (let sent = 0; sent < tokens; sent += chunk) {
    const cost = fixedMs + perTokenMs * Math.min(chunk, tokens - sent);
    done = 0;
    for (let stage = 0; stage < stages; stage++) {
      done = Math.max(done, free[stage] as number) + cost;
      free[stage] = done;
    }
  }
  return done;
}

describe('chunkSize', () => {
  const cases = [100, 300, 1024, 5000].flatMap((tokens) =>
    [2, 3, 5].flatMap((stages) => [1, 8, 60].map((fixedMs) => ({ tokens, stages, fixedMs }))),
  );
  test.each(cases)(
    'is near the best of all sizes: $tokens tokens, $stages stages, $fixedMs',
    (c) => {
      const time = (chunk: number) => simulate(c.tokens, c.stages, chunk, c.fixedMs, 1);
      const chosen = chunkSize(c.tokens, c.stages, { fixedMs: c.fixedMs, perRowMs: 1 }, 2048);
      const best = Math.min(...Array.from({ length: 2048 / 64 }, (_, i) => time((i + 1) * 64)));
      expect(time(chosen)).toBeLessThanOrEqual(best * 1.1);
    },
  );

  test('leaves short prompts and single stages whole, and respects the limit', () => {
    expect(chunkSize(60, 2, { fixedMs: 1, perRowMs: 1 }, 512)).toBe(512);
    expect(chunkSize(5000, 1, { fixedMs: 1, perRowMs: 1 }, 512)).toBe(512);
    expect(chunkSize(5000, 2, { fixedMs: 1e9, perRowMs: 1 }, 512)).toBeLessThanOrEqual(512);
  });
});

test('chunks are cut by the stage that the others wait for, wherever it is', () => {
  const fast = { fixedMs: 2, perRowMs: 0.1 };
  const slow = { fixedMs: 1, perRowMs: 3 };
  const unknown = { fixedMs: 0, perRowMs: 0 };
  expect(slowestStage([fast, slow])).toBe(slow);
  // A coordinator without layers learns nothing itself.
  expect(slowestStage([unknown, fast])).toBe(fast);
  expect(slowestStage([unknown])).toBeUndefined();
});
