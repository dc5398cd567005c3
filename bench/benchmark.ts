import type { Conversation } from '../coord/conversation.js';
import type { Coordinator } from '../coord/coordinator.js';
import type { StageStats } from '../coord/stage-stats.js';
import { greedy } from '../engine/engine.js';

/** What to measure. */
export interface BenchmarkOptions {
  /** Tokens of the prompt. */
  readonly prefillTokens: number;
  /** Steps of one token after it. */
  readonly decodeTokens: number;
  /** Measurements, after one that does not count; figures are their medians. */
  readonly repeat: number;
  /** Conversations that decode at once. */
  readonly conversations: number;
  /** Number of token ids to draw the prompt from. */
  readonly vocabulary: number;
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

export interface BenchmarkResult {
  readonly prefill: { readonly tokens: number; readonly tokPerSec: number };
  readonly decode: {
    /** Per conversation. */
    readonly tokens: number;
    readonly tokPerSec: number;
    /** Milliseconds per token of one conversation. */
    readonly tpotMs: number;
  };
  /** Milliseconds from the prompt to the first token. */
  readonly ttftMs: number;
  readonly stages: readonly BenchmarkStage[];
}

interface Measurement {
  readonly ttftMs: number;
  readonly decodeMs: number;
  readonly stages: readonly StageStats[];
}

/**
 * Measures how fast a model reads a prompt and continues it, greedily, and where every stage's time goes while it
 * continues. The prompt is random, but always the same.
 * @throws CoordinatorError
 */
export async function benchmark(
  coordinator: Coordinator,
  options: BenchmarkOptions,
): Promise<BenchmarkResult> {
  const prompt = randomTokens(options.prefillTokens, options.vocabulary);
  const conversations = Array.from({ length: options.conversations }, () =>
    coordinator.conversation(),
  );
  const measurements: Measurement[] = [];
  try {
    for (let i = 0; i <= options.repeat; i++) {
      options.onMeasurement?.(i);
      const measured = await measure(coordinator, conversations, prompt, options.decodeTokens);
      if (i > 0) measurements.push(measured);
    }
  } finally {
    for (const conversation of conversations) conversation.close();
  }
  return summarize(measurements, options);
}

async function measure(
  coordinator: Coordinator,
  conversations: readonly Conversation[],
  prompt: Int32Array,
  decodeTokens: number,
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
      isEnd: () => false,
    });
    const begin = performance.now();
    await generation.next();
    ttfts.push(performance.now() - begin);
    generations.push(generation);
  }
  await coordinator.stats({ reset: true });
  const begin = performance.now();
  await Promise.all(
    generations.map(async (generation) => {
      while (!(await generation.next()).done);
    }),
  );
  const decodeMs = performance.now() - begin;
  return { ttftMs: median(ttfts), decodeMs, stages: await coordinator.stats() };
}

function summarize(
  measurements: readonly Measurement[],
  { prefillTokens, decodeTokens, conversations }: BenchmarkOptions,
): BenchmarkResult {
  const ttftMs = median(measurements.map((measurement) => measurement.ttftMs));
  const decodeMs = median(measurements.map((measurement) => measurement.decodeMs));
  // The stages' figures are of the measurement that the others are from, so that they add up.
  const typical =
    measurements.find((measurement) => measurement.decodeMs === decodeMs) ?? measurements[0];
  return {
    prefill: { tokens: prefillTokens, tokPerSec: (prefillTokens * 1000) / ttftMs },
    decode: {
      tokens: decodeTokens,
      tokPerSec: (decodeTokens * conversations * 1000) / decodeMs,
      tpotMs: decodeMs / decodeTokens,
    },
    ttftMs,
    stages: (typical?.stages ?? []).map(perStep),
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
function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
}

/** Numerical Recipes' linear congruential generator, from a fixed start. */
function randomTokens(count: number, vocabulary: number): Int32Array {
  let state = 1;
  return Int32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 0x1_0000_0000) * vocabulary);
  });
}
