import type { CodecName } from '../wire/codecs/codec.js';
import { codecNamed } from '../wire/codecs/codecs.js';
import type { LinkFigures } from './link-figures.js';

/** What steps are expected to take, from sizes and not by a clock: the same machines then choose alike. */
export interface ExpectedStep {
  /** Milliseconds of a decode step, on all stages together. */
  readonly decodeMs: number;
  /** Milliseconds of each row of a prompt, on the slowest stage. */
  readonly promptRowMs: number;
}

/** From the most exact on; the last where none of them is free. */
const candidates = ['f32', 'f16', 'int8'] as const;
const smallest = 'fp8';

/** The most that a codec may add to a decode step: this share of it, or what nobody notices beside being woken. */
const mostShare = 0.01;
const leastMs = 0.025;

/**
 * Bandwidths, bytes per millisecond, that links count as: the next lower one. The limits lie between what cables have,
 * so that noise does not change a choice; above the last, f32 costs next to nothing.
 */
const bandwidths = [240_000, 95_000, 30_000, 10_000, 3_000, 1_000];

/** Nanoseconds per value of encoding and decoding it, as `bench/codecs` measures them on a Zen 4 core. */
const nanoseconds: Readonly<Record<CodecName, number>> = {
  f32: 0.2,
  f16: 4,
  bf16: 4,
  int8: 6,
  fp8: 6,
};

/**
 * The most exact codec that a link carries for free: with which a row of hidden states adds next to nothing to a decode
 * step, and a prompt's rows are on their way no longer than the slowest stage computes them. Latency is no part of it,
 * as all pay it alike.
 * @param hiddenSize values of a row
 */
export function chooseCodec(
  { bytesPerMs }: Pick<LinkFigures, 'bytesPerMs'>,
  { decodeMs, promptRowMs }: ExpectedStep,
  hiddenSize: number,
): CodecName {
  const counted = bandwidths.find((bandwidth) => bytesPerMs >= bandwidth);
  if (counted === undefined) return smallest;
  const mostMs = Math.min(Math.max(leastMs, mostShare * decodeMs), Math.max(leastMs, promptRowMs));
  const rowMs = (name: CodecName) =>
    codecNamed(name).encodedBytes(1, hiddenSize) / counted + (hiddenSize * nanoseconds[name]) / 1e6;
  return candidates.find((name) => rowMs(name) <= mostMs) ?? smallest;
}
