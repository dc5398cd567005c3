import type { Conversation } from '../coord/conversation.js';
import type { Coordinator } from '../coord/coordinator.js';
import type { SpeculationStats } from '../coord/speculator.js';
import type { StageStats } from '../coord/stage-stats.js';
import { greedy } from '../engine/engine.js';

/** What to measure. */
export interface BenchmarkOptions {
  /** [≥ 1] token ids. */
  readonly prompt: Int32Array;
  /** Most tokens to generate after the first. */
  readonly decodeTokens: number;
  /** Measurements, after one that does not count; figures are their medians. */
  readonly repeat: number;
  /** Conversations that decode at once. */
  readonly conversations: number;
  /** Whether a token ends the text. */
  readonly isEnd: (token: number) => boolean;
  /** Is filled with prompt and answer, before drafts are used. */
  readonly recording: number[];
  /** Called before every measurement, the one that does not count as 0. */
  readonly onMeasurement?: (index: number) => void;
}

/** What a stage did in a decode step, on average; times in milliseconds. */
export interface BenchmarkStage {
  readonly name: string;
  readonly layers: number;
  readonly steps: number;
  readonly computeMs: number;
  readonly encodeMs: number;
  readonly decodeMs: number;
  readonly sendMs: number;
  readonly waitMs: number;
  /** Bytes per step on the link to the next stage. */
  readonly bytesSent: number;
  readonly residentBytes: number;
  /** Of the link to the next stage: from sending a step to its receipt. */
  readonly latency: StageStats['latency'];
  readonly idleShare: number;
}

export interface DecodeResult {
  /** Per conversation. */
  readonly tokens: number;
  readonly tokPerSec: number;
  /** Milliseconds per token of one conversation. */
  readonly tpotMs: number;
}

/** What drafts were good for. */
export interface SpeculationResult extends SpeculationStats {
  /** Drafted tokens that were right, per step. */
  readonly acceptedPerStep: number;
  /** The same texts without drafts, measured in turns. */
  readonly off: DecodeResult;
  /** Tokens per second against `off`. */
  readonly speedup: number;
}

export interface BenchmarkResult {
  readonly prefill: { readonly tokens: number; readonly tokPerSec: number };
  readonly decode: DecodeResult;
  /** Milliseconds from the prompt to the first token. */
  readonly ttftMs: number;
  readonly stages: readonly BenchmarkStage[];
  readonly speculation?: SpeculationResult;
}

interface Measurement {
  readonly ttftMs: number;
  /** Tokens after the first, of all conversations. */
  readonly tokens: number;
  readonly decodeMs: number;
  readonly stages: readonly StageStats[];
  readonly speculation: SpeculationStats | undefined;
}

/**
 * Measures how fast a model reads a prompt and continues it, greedily, and where every stage's time goes while it
 * continues. With speculation the same is measured without it too, in turns.
 * @throws CoordinatorError
 */
export async function benchmark(
  coordinator: Coordinator,
  options: BenchmarkOptions,
): Promise<BenchmarkResult> {
  const conversations = Array.from({ length: options.conversations }, () =>
    coordinator.conversation(),
  );
  const plain: Measurement[] = [];
  const speculative: Measurement[] = [];
  try {
    for (let i = 0; i <= options.repeat; i++) {
      options.onMeasurement?.(i);
      const off = await measure(coordinator, conversations, options, false);
      if (i > 0) plain.push(off);
      if (!coordinator.speculation) continue;
      const on = await measure(coordinator, conversations, options, true);
      if (i > 0) speculative.push(on);
    }
  } finally {
    for (const conversation of conversations) conversation.close();
  }
  return summarize(plain, speculative, options);
}

async function measure(
  coordinator: Coordinator,
  conversations: readonly Conversation[],
  { prompt, decodeTokens, isEnd, recording }: BenchmarkOptions,
  speculate: boolean,
): Promise<Measurement> {
  const ttfts: number[] = [];
  const generations: ReturnType<Conversation['generate']>[] = [];
  // One after the other, so that each has the pipeline to itself while it reads its prompt.
  for (const conversation of conversations) {
    conversation.reset();
    const generation = conversation.generate(prompt, {
      sampling: greedy,
      // The first token is the prompt's.
      maxTokens: decodeTokens + 1,
      isEnd,
      speculate,
    });
    const begin = performance.now();
    const first = await generation.next();
    ttfts.push(performance.now() - begin);
    if (!speculate) recording.splice(0, Infinity, ...prompt, first.value as number);
    generations.push(generation);
  }
  await coordinator.stats({ reset: true });
  let tokens = 0;
  const begin = performance.now();
  await Promise.all(
    generations.map(async (generation, i) => {
      for (;;) {
        const { value, done } = await generation.next();
        if (done) return;
        tokens++;
        if (!speculate && i === 0) recording.push(value);
      }
    }),
  );
  const decodeMs = performance.now() - begin;
  const stages = await coordinator.stats();
  return {
    ttftMs: median(ttfts),
    tokens,
    decodeMs,
    stages,
    speculation: coordinator.speculation?.stats,
  };
}

function summarize(
  plain: readonly Measurement[],
  speculative: readonly Measurement[],
  { prompt, conversations }: BenchmarkOptions,
): BenchmarkResult {
  const ttftMs = median([...plain, ...speculative].map((measurement) => measurement.ttftMs));
  const off = typical(plain);
  const best = speculative.length > 0 ? typical(speculative) : off;
  // How well drafts do differs from time to time, so all times count alike.
  const decode = decodeResult(speculative.length > 0 ? speculative : [off], conversations);
  return {
    prefill: { tokens: prompt.length, tokPerSec: (prompt.length * 1000) / ttftMs },
    decode,
    ttftMs,
    stages: best.stages.map(perStep),
    ...(best.speculation
      ? { speculation: speculationResult(speculative, decode, decodeResult(plain, conversations)) }
      : {}),
  };
}

function speculationResult(
  measurements: readonly Measurement[],
  decode: DecodeResult,
  off: DecodeResult,
): SpeculationResult {
  const last = measurements.at(-1)?.speculation as SpeculationStats;
  const sum = (part: (stats: SpeculationStats) => number) =>
    measurements.reduce(
      (total, { speculation }) => total + (speculation ? part(speculation) : 0),
      0,
    );
  const drafted = sum((stats) => stats.drafted);
  const accepted = sum((stats) => stats.accepted);
  const steps = sum((stats) => stats.steps);
  return {
    mode: last.mode,
    drafted,
    accepted,
    acceptanceRate: accepted / Math.max(1, drafted),
    steps,
    acceptedPerStep: accepted / Math.max(1, steps),
    cancelledSteps: sum((stats) => stats.cancelledSteps),
    promisedSpeedup: last.promisedSpeedup,
    off,
    speedup: decode.tokPerSec / off.tokPerSec,
  };
}

/** The one whose time is the median, so that all its figures add up. */
function typical(measurements: readonly Measurement[]): Measurement {
  const middle = median(measurements.map(({ decodeMs }) => decodeMs));
  return measurements.find(({ decodeMs }) => decodeMs === middle) as Measurement;
}

/** Of all measurements together. */
function decodeResult(measurements: readonly Measurement[], conversations: number): DecodeResult {
  const tokens = measurements.reduce((sum, measurement) => sum + measurement.tokens, 0);
  const decodeMs = measurements.reduce((sum, measurement) => sum + measurement.decodeMs, 0);
  return {
    tokens: tokens / conversations / measurements.length,
    tokPerSec: (tokens * 1000) / decodeMs,
    tpotMs: (decodeMs * conversations) / tokens,
  };
}

function perStep(stats: StageStats): BenchmarkStage {
  const steps = Math.max(1, stats.steps);
  return {
    name: stats.name,
    layers: stats.layers,
    steps: stats.steps,
    computeMs: stats.computeMs / steps,
    encodeMs: stats.encodeMs / steps,
    decodeMs: stats.decodeMs / steps,
    sendMs: stats.sendMs / steps,
    waitMs: stats.waitMs / steps,
    bytesSent: stats.bytesSent / steps,
    residentBytes: stats.residentBytes,
    latency: stats.latency,
    idleShare: stats.idleShare,
  };
}

/** The middle value; of an even number of values the higher of the two. */
export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
}

/** A prompt for models that nobody could talk to: Numerical Recipes' linear congruential generator. */
export function randomTokens(count: number, vocabulary: number): Int32Array {
  let state = 1;
  return Int32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 0x1_0000_0000) * vocabulary);
  });
}
