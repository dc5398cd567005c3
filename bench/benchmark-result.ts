import type { BatchStats } from '../coord/batch-stats.js';
import type { DraftStats } from '../coord/speculator.js';
import type { StageStats } from '../coord/stage-stats.js';
import type { LayerRoutings } from '../engine/routing-counts.js';
import type { ExpertUse } from './expert-use.js';
import type { StageLimit } from './limits.js';
import { decodeMs, summarizeWaits, type ConversationsResult, type Waits } from './waits.js';

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
  readonly limit: StageLimit;
}

export interface DecodeResult {
  /** Per conversation. */
  readonly tokens: number;
  /** Of all conversations together. */
  readonly tokPerSec: number;
  /** Milliseconds per token of one conversation. */
  readonly tpotMs: number;
}

/** What drafts were good for. */
export interface SpeculationResult extends DraftStats {
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
  /** Of one measurement, where routings are counted. */
  readonly experts?: {
    /** Absent where prompts are read while others answer. */
    readonly prefill?: ExpertUse;
    readonly decode: ExpertUse;
  };
  /** Where there are several. */
  readonly conversations?: ConversationsResult;
  /** How the conversations shared steps while they decoded. */
  readonly batching: BatchStats;
}

/** How a text of some length is continued. */
export interface DepthResult extends Pick<BenchmarkResult, 'decode' | 'stages' | 'speculation'> {
  /** Tokens before those that are decoded. */
  readonly depth: number;
}

/** One measurement of all conversations together. */
export interface Measurement {
  /** Of every conversation. */
  readonly waits: readonly Waits[];
  /** Milliseconds in which all of them got their tokens after the first; with prompts where these are read meanwhile. */
  readonly decodeMs: number;
  /** What stages did while prompts were read; nothing where others answer meanwhile. */
  readonly prefillStages: readonly StageStats[];
  /** What they did while answers were decoded. */
  readonly stages: readonly StageStats[];
  readonly speculation: DraftStats | undefined;
  readonly batching: BatchStats;
}

/** What the measurements were of. */
export interface Measured {
  readonly promptTokens: number;
  readonly conversations: number;
  /** How near every stage is to what its machine can do, by its place and by what it did. */
  readonly limit: (stage: number, all: readonly StageStats[], textTokens: number) => StageLimit;
  /** How experts were used; undefined where that is not counted. */
  readonly expertUse: ((routings: readonly LayerRoutings[]) => ExpertUse) | undefined;
}

/** The medians of some measurements. @param speculative those with drafts; empty where there are none */
export function summarize(
  plain: readonly Measurement[],
  speculative: readonly Measurement[],
  { promptTokens, conversations, limit, expertUse }: Measured,
): BenchmarkResult {
  const ttftMs = median([...plain, ...speculative].map(firstWait));
  const off = typical(plain);
  const best = speculative.length > 0 ? typical(speculative) : off;
  // How well drafts do differs from time to time, so all times count alike.
  const decode = decodeResult(speculative.length > 0 ? speculative : [off], conversations);
  const used = (stages: readonly StageStats[]) =>
    expertUse?.(stages.flatMap(({ routings }) => routings));
  const prefill = best.prefillStages.length > 0 ? used(best.prefillStages) : undefined;
  const decoding = used(best.stages);
  const measured = speculative.length > 0 ? speculative : plain;
  return {
    prefill: { tokens: promptTokens, tokPerSec: (promptTokens * 1000) / ttftMs },
    decode,
    ttftMs,
    batching: best.batching,
    stages: best.stages.map((stats, i) =>
      perStep(stats, limit(i, best.stages, promptTokens + decode.tokens / 2)),
    ),
    ...(best.speculation
      ? { speculation: speculationResult(speculative, decode, decodeResult(plain, conversations)) }
      : {}),
    ...(decoding ? { experts: { ...(prefill ? { prefill } : {}), decode: decoding } } : {}),
    ...(conversations > 1
      ? { conversations: summarizeWaits(measured.map(({ waits }) => waits)) }
      : {}),
  };
}

function speculationResult(
  measurements: readonly Measurement[],
  decode: DecodeResult,
  off: DecodeResult,
): SpeculationResult {
  const last = measurements.at(-1)?.speculation as DraftStats;
  const sum = (part: (stats: DraftStats) => number) =>
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

/** The median time to first token. */
function firstWait({ waits }: Measurement): number {
  return median(waits.flatMap((each) => each.slice(0, 1)));
}

/** The one whose time is the median, so that all its figures add up. */
function typical(measurements: readonly Measurement[]): Measurement {
  const middle = median(measurements.map(({ decodeMs }) => decodeMs));
  return measurements.find(({ decodeMs }) => decodeMs === middle) as Measurement;
}

/** Of all measurements together. */
function decodeResult(measurements: readonly Measurement[], conversations: number): DecodeResult {
  const waits = measurements.flatMap((measurement) => measurement.waits);
  const tokens = waits.reduce((sum, { length }) => sum + Math.max(0, length - 1), 0);
  const elapsedMs = measurements.reduce((sum, measurement) => sum + measurement.decodeMs, 0);
  return {
    tokens: tokens / conversations / measurements.length,
    tokPerSec: (tokens * 1000) / elapsedMs,
    tpotMs: waits.reduce((sum, each) => sum + decodeMs(each), 0) / tokens,
  };
}

function perStep(stats: StageStats, limit: StageLimit): BenchmarkStage {
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
    limit,
  };
}

/** The middle value; of an even number of values the higher of the two. */
export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
}
