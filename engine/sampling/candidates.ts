import type { Sampling } from '../../step/sampling.js';
import { fewestReaching } from './fewest.js';
import type { LogitBlocks } from './logit-blocks.js';

type Filters = Pick<Sampling, 'topK' | 'typicalP' | 'topP' | 'minP'>;

/** Whether any filter is on; without one every token is a candidate. */
export function isFiltered({ topK, typicalP, topP, minP }: Filters): boolean {
  return topK > 0 || typicalP < 1 || topP < 1 || minP > 0;
}

/**
 * The tokens that the filters leave, ascending: top-k, typical-p, top-p and min-p, each on what the one before left, as
 * llama.cpp orders them; temperature comes after them. Of equally likely tokens the smaller id stays. Sums of
 * probabilities are f64, where llama.cpp's are f32.
 * @returns one at least
 */
export function filterCandidates(blocks: LogitBlocks, filters: Filters): Int32Array {
  const { topK, typicalP, topP, minP } = filters;
  if (topK <= 0 && typicalP >= 1) {
    const floor = minPFloor(blocks.max, minP);
    return topP < 1 ? topPOfAll(blocks, topP, floor) : blocks.atLeast(floor);
  }
  const { logits } = blocks;
  let kept = topK > 0 ? topKOfAll(blocks, topK) : blocks.atLeast(-Infinity);
  if (typicalP < 1) kept = keepTypical(blocks, kept, typicalP);
  if (topP < 1) kept = keepTopP(blocks, kept, topP);
  if (minP <= 0) return kept;
  const max = kept.reduce((most, token) => Math.max(most, logits[token]!), -Infinity);
  const floor = minPFloor(max, minP);
  return kept.filter((token) => logits[token]! >= floor);
}

/** The least logit that min-p leaves, with llama.cpp's roundings. */
function minPFloor(max: number, minP: number): number {
  return Math.fround(max + Math.fround(Math.log(minP)));
}

function topKOfAll(blocks: LogitBlocks, count: number): Int32Array {
  const reaching = blocks.atLeast(blocks.reachedBy(count));
  const each = new Float64Array(reaching.length).fill(1);
  return fewestReaching(reaching, likeliestFirst(blocks, reaching), each, count);
}

/** How far below the likeliest token top-p looks first, and then if that is not enough. */
const nearby = 8;
const reaches = [nearby, 2 * nearby, Infinity];

/** @param floor tokens below it are not wanted anyway */
function topPOfAll(blocks: LogitBlocks, topP: number, floor: number): Int32Array {
  // Where most tokens are far off, bounds of their mass mostly say as much as the mass itself.
  const { least, most } = blocks.mass(nearby);
  if (most - least < most / 1000) {
    const kept = fewestOfMass(blocks, topP * most, floor);
    if (least === most) return kept;
    if (fewestOfMass(blocks, topP * least, floor).length === kept.length) return kept;
  }
  return fewestOfMass(blocks, topP * blocks.mass().most, floor);
}

/** The fewest likeliest tokens that have a mass, or those of them that reach the floor. */
function fewestOfMass(blocks: LogitBlocks, wanted: number, floor: number): Int32Array {
  let tokens: Int32Array = new Int32Array(0);
  for (const reach of reaches) {
    const lowest = Math.max(floor, blocks.max - reach);
    tokens = blocks.atLeast(lowest);
    const weights = weightsOf(blocks, tokens);
    if (sum(weights) >= wanted)
      return fewestReaching(tokens, likeliestFirst(blocks, tokens), weights, wanted);
    if (lowest === floor) break;
  }
  return tokens;
}

function keepTopP(blocks: LogitBlocks, tokens: Int32Array, topP: number): Int32Array {
  const weights = weightsOf(blocks, tokens);
  return fewestReaching(tokens, likeliestFirst(blocks, tokens), weights, topP * sum(weights));
}

/**
 * The fewest tokens with more than this share of the mass, those first whose surprise, -log p, is closest to its mean
 * (arXiv 2202.00666).
 */
function keepTypical(blocks: LogitBlocks, tokens: Int32Array, typicalP: number): Int32Array {
  const weights = weightsOf(blocks, tokens);
  const mass = sum(weights);
  const surprise = map(tokens, (token) => blocks.max + Math.log(mass) - blocks.logits[token]!);
  let entropy = 0;
  for (let i = 0; i < tokens.length; i++)
    if (weights[i]! > 0) entropy += (weights[i]! / mass) * surprise[i]!;
  const oddity = surprise.map((each) => Math.abs(each - entropy));
  // To have more than the share, not as much.
  return fewestReaching(tokens, oddity, weights, typicalP * mass * (1 + Number.EPSILON));
}

/** Keys that bring the likeliest tokens to the front. */
function likeliestFirst({ logits }: LogitBlocks, tokens: Int32Array): Float64Array {
  return map(tokens, (token) => -logits[token]!);
}

/** Probabilities relative to that of the likeliest of all tokens. */
function weightsOf(blocks: LogitBlocks, tokens: Int32Array): Float64Array {
  return map(tokens, (token) => blocks.weight(token));
}

function map(tokens: Int32Array, valueOf: (token: number) => number): Float64Array {
  const values = new Float64Array(tokens.length);
  for (let i = 0; i < tokens.length; i++) values[i] = valueOf(tokens[i]!);
  return values;
}

function sum(values: Float64Array): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i]!;
  return total;
}
