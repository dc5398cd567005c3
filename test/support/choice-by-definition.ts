import { gumbelNoise } from '../../engine/sampling/noise.js';
import type { Sampling } from '../../step/sampling.js';

/** Probabilities of logits, by the definition of softmax. */
export function softmax(logits: readonly number[]): number[] {
  const max = logits.reduce((most, logit) => Math.max(most, logit), -Infinity);
  const exponentials = logits.map((logit) => Math.exp(logit - max));
  const sum = exponentials.reduce((total, each) => total + each, 0);
  return exponentials.map((each) => each / sum);
}

/** What the filters leave, each by its definition over all that the one before it left; the likeliest first. */
export function candidatesByDefinition(
  logits: Float32Array,
  { topK, typicalP, topP, minP }: Omit<Sampling, 'temperature' | 'repetitionPenalty' | 'seed'>,
): number[] {
  const likelihood = (a: number, b: number) => logits[b]! - logits[a]! || a - b;
  const probabilities = (of: readonly number[]) => softmax(of.map((token) => logits[token]!));
  let kept = Array.from(logits.keys()).sort(likelihood);
  if (topK > 0) kept = kept.slice(0, topK);
  if (typicalP < 1) {
    const p = probabilities(kept);
    const entropy = p.reduce((sum, each) => (each > 0 ? sum - each * Math.log(each) : sum), 0);
    const oddity = p.map((each) => Math.abs(-Math.log(each) - entropy));
    const order = [...kept.keys()].sort((a, b) => oddity[a]! - oddity[b]! || kept[a]! - kept[b]!);
    let sum = 0;
    const first = order.filter((i) => (sum += p[i]!) - p[i]! <= typicalP);
    kept = first.map((i) => kept[i]!).sort(likelihood);
  }
  if (topP < 1) {
    const p = probabilities(kept);
    let sum = 0;
    kept = kept.filter((_, i) => (sum += p[i]!) - p[i]! < topP || i === 0);
  }
  const floor = Math.fround(logits[kept[0]!]! + Math.fround(Math.log(minP)));
  return minP > 0 ? kept.filter((token) => logits[token]! >= floor) : kept;
}

/** The choice by its definition: a penalty, filters over everything sorted, and the noise of every candidate. */
export function choiceByDefinition(
  original: Float32Array,
  sampling: Sampling,
  position: number,
  recent: Iterable<number>,
): number {
  const { temperature, repetitionPenalty, seed } = sampling;
  const logits = original.slice();
  const penalty = Math.fround(repetitionPenalty);
  for (const token of new Set(recent))
    logits[token] = logits[token]! > 0 ? logits[token]! / penalty : logits[token]! * penalty;
  const candidates = candidatesByDefinition(logits, sampling);
  if (temperature <= 0) return candidates[0]!;
  const scores = candidates.map(
    (token) => logits[token]! / temperature + gumbelNoise(seed, position, token),
  );
  const best = scores.reduce((most, score) => Math.max(most, score), -Infinity);
  return candidates.filter((_, i) => scores[i] === best).sort((a, b) => a - b)[0]!;
}
