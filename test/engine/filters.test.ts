import { expect, test } from 'vitest';
import { filterCandidates } from '../../engine/sampling/candidates.js';
import { LogitBlocks } from '../../engine/sampling/logit-blocks.js';
import { penalise } from '../../engine/sampling/penalty.js';
import { penaltyReach } from '../../engine/sampling/recent-tokens.js';
import { greedy, type Sampling } from '../../step/sampling.js';
import { llamaCppCandidates } from '../support/llama-samplers.js';
import { Random } from '../support/random.js';

const random = new Random(11);
const pick = <Item>(items: readonly Item[]) => items[random.between(0, items.length - 1)] as Item;

/** What logits look like: all alike, almost, like a model's, nearly certain, and with many that are equal. */
const shapes: readonly ((normal: number, token: number) => number)[] = [
  () => 1.5,
  (normal) => normal / 10,
  (normal) => 3 * normal,
  (normal, token) => 2 * normal + (token % 50 === 7 ? 10 : 0) - token / 20_000,
  (normal, token) => 2 * normal + (token === 3 ? 25 : 0),
  (normal) => Math.round(8 * normal) / 4,
];

function randomLogits(): Float32Array {
  const shape = pick(shapes);
  const normal = () =>
    Math.sqrt(-2 * Math.log(1 - random.share())) * Math.cos(2 * Math.PI * random.share());
  return Float32Array.from({ length: pick([5, 100, 1000, 32_000, 151_936]) }, (_, token) =>
    shape(normal(), token),
  );
}

function randomSampling(): Sampling {
  return {
    ...greedy,
    topK: pick([0, 0, 1, 5, 40, 300, 200_000]),
    typicalP: pick([1, 1, 1, 0.2, 0.9, 0.99]),
    topP: pick([1, 1, 0.1, 0.5, 0.9, 0.95, 0.999]),
    minP: pick([0, 0, 0.02, 0.05, 0.3, 1]),
    repetitionPenalty: pick([1, 1, 0.8, 1.1, 1.3]),
  };
}

/** Of logits that one list has and the other has not; both descending. */
function differing(ours: readonly number[], theirs: readonly number[]): number[] {
  const count = new Map<number, number>();
  for (const logit of ours) count.set(logit, (count.get(logit) ?? 0) + 1);
  for (const logit of theirs) count.set(logit, (count.get(logit) ?? 0) - 1);
  return [...count].flatMap(([logit, times]) => new Array<number>(Math.abs(times)).fill(logit));
}

function probabilityOf(logit: number, logits: Float32Array): number {
  const max = logits.reduce((most, each) => Math.max(most, each), -Infinity);
  return Math.exp(logit - max) / logits.reduce((sum, each) => sum + Math.exp(each - max), 0);
}

test("what the filters leave is what llama.cpp's samplers leave", () => {
  let equal = 0;
  for (let i = 0; i < 200; i++) {
    const logits = randomLogits();
    const sampling = randomSampling();
    const text = Int32Array.from({ length: random.between(0, 100) }, () =>
      random.between(0, Math.min(logits.length, 300) - 1),
    );
    const theirs = llamaCppCandidates(logits, sampling, text);
    penalise(logits, sampling.repetitionPenalty, text.subarray(-penaltyReach));
    // By logits, as llama.cpp takes any of equally likely tokens.
    const ours = [...filterCandidates(new LogitBlocks(logits), sampling)]
      .map((token) => logits[token]!)
      .sort((a, b) => b - a);
    const others = differing(ours, theirs);
    if (others.length === 0) {
      equal++;
      continue;
    }
    // Where llama.cpp cuts its sums of probabilities decide, and those are f32: off by up to a rounding per term. Beside
    // the token at the cut, those that differ have no more than that.
    const masses = others.map((logit) => probabilityOf(logit, logits)).sort((a, b) => a - b);
    const mass = masses.slice(0, -1).reduce((sum, each) => sum + each, 0);
    const what = `${i}: ${JSON.stringify(sampling)}, ${ours.length} and ${theirs.length}`;
    expect(mass, what).toBeLessThan(logits.length * 2 ** -24);
  }
  expect(equal).toBeGreaterThan(180);
});
