import type { BenchmarkResult, BenchmarkStage, DepthResult } from '../bench/benchmark-result.js';
import type { Comparison } from '../bench/comparison.js';
import type { ExpertUse, LayerUse } from '../bench/expert-use.js';
import type { Bound } from '../bench/limits.js';
import { formatBytes, formatTable } from './format.js';

const bounds: Readonly<Record<Bound, string>> = {
  compute: 'compute',
  memory: 'memory bandwidth',
  link: 'link',
  waiting: 'waiting for others',
};

/** How near every stage is to what its machine can do. */
export function formatLimits(stages: readonly BenchmarkStage[]): string {
  const heads = ['read per step', 'weights', 'KV', 'while computing', 'memory gives', 'bound by'];
  const rows = stages.map(({ name, limit }) => [
    name,
    formatBytes(limit.weights),
    formatBytes(limit.kv),
    formatRate(limit.bytesPerSecond),
    limit.memoryBytesPerSecond > 0 ? formatRate(limit.memoryBytesPerSecond) : '-',
    bounds[limit.bound],
  ]);
  return formatTable([heads, ...rows]);
}

/** Decoding after texts of several lengths; what there is of every stage stands in pipeline order. */
export function formatDepths(depths: readonly DepthResult[]): string {
  const heads = ['after', 'tok/s', 'TPOT', 'compute per stage', 'read', 'bound by'];
  const rows = depths.map(({ depth, decode, stages }) => [
    `${depth} tokens`,
    decode.tokPerSec.toFixed(1),
    `${decode.tpotMs.toFixed(2)} ms`,
    stages.map(({ computeMs }) => `${computeMs.toFixed(2)} ms`).join(' + '),
    stages.map(({ limit }) => formatRate(limit.bytesPerSecond)).join(', '),
    stages.map(({ limit }) => bounds[limit.bound]).join(', '),
  ]);
  return formatTable([heads, ...rows]);
}

/** How experts were used: means over layers. */
export function formatExperts({
  prefill,
  decode,
}: NonNullable<BenchmarkResult['experts']>): string {
  const heads = [
    'experts',
    'hottest',
    'hottest tenth',
    'entropy',
    'least, in layer',
    'different per step',
    'read per token',
    'alone',
  ];
  return formatTable([
    heads,
    ...(prefill ? [['prefill', ...expertFigures(prefill)]] : []),
    [prefill ? 'decode' : 'both', ...expertFigures(decode)],
  ]);
}

function expertFigures({ layers, bytesPerToken, bytesAlone }: ExpertUse): string[] {
  const mean = (part: (use: LayerUse) => number) =>
    layers.reduce((sum, use) => sum + part(use), 0) / layers.length;
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  const least = layers.toSorted((a, b) => a.entropyBits - b.entropyBits)[0];
  return [
    percent(mean(({ hottestShare }) => hottestShare)),
    percent(mean(({ hottestTenthShare }) => hottestTenthShare)),
    `${mean((use) => use.entropyBits).toFixed(2)} of ${mean((use) => use.mostEntropyBits).toFixed(2)} bits`,
    least ? `${least.entropyBits.toFixed(2)} in ${least.layer}` : '-',
    `${mean(({ distinctPerStep }) => distinctPerStep).toFixed(1)} of ${mean(({ counts }) => counts.length).toFixed(0)}`,
    formatBytes(bytesPerToken),
    formatBytes(bytesAlone),
  ];
}

/** Ours and llama.cpp's figures. */
export function formatComparisons(comparisons: readonly Comparison[]): string {
  const heads = ['against llama.cpp', 'ours', 'theirs', 'flash attention', 'ratio'];
  const rows = comparisons.map(({ test, tokens, tokPerSec, theirs, ratio }) => [
    test === 'prefill' ? `prefill of ${tokens}` : `decode after ${tokens}`,
    `${tokPerSec.toFixed(1)} tok/s`,
    `${theirs.tokPerSec.toFixed(1)} tok/s`,
    theirs.flashAttention ? 'on' : 'off',
    ratio.toFixed(2),
  ]);
  return formatTable([heads, ...rows]);
}

function formatRate(bytesPerSecond: number): string {
  return `${(bytesPerSecond / 1e9).toFixed(1)} GB/s`;
}
