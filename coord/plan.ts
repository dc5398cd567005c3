import type { StageMemory } from '../engine/engine.js';
import type { Shard } from '../step/shard.js';
import { CoordinatorError } from './errors.js';

/** One stage of a plan. */
export interface PlannedStage {
  /** `coordinator`, or the worker's address. */
  readonly name: string;
  readonly layers: number;
  readonly firstLayer: number;
  readonly endLayer: number;
  readonly device: string;
  /** Predicted memory in bytes. */
  readonly memory: StageMemory;
}

/** Which stage gets which layers. */
export interface Plan {
  readonly stages: readonly PlannedStage[];
}

/** A machine that could hold a stage; the first is the coordinator. */
export interface Candidate {
  readonly name: string;
  readonly device: string;
  /** Candidates with the same machine share its memory. */
  readonly machine: string;
  readonly freeBytes: number;
}

/** Share of a machine's free memory that is left to others. */
const headroom = 0.05;

/** Share of what is left of it beside weights that cells take where nobody asks for a context. */
const cellShare = 0.5;

/**
 * Cuts a model's layers into shards, one per candidate and in their order.
 * @param wanted layers per stage; without it, in proportion to free memory
 * @returns shards; the coordinator's is empty when it is to hold no layer
 * @throws CoordinatorError 'plan' when the wanted split does not add up.
 */
export function splitLayers(
  modelLayers: number,
  candidates: readonly Candidate[],
  wanted?: readonly number[],
): Shard[] {
  const counts = wanted ?? proportionalCounts(modelLayers, candidates);
  checkCounts(modelLayers, candidates, counts);
  let firstLayer = 0;
  // A coordinator without layers leaves the embedding to the first worker.
  const firstStage = counts.findIndex((count) => count > 0);
  return counts.map((count, i) => {
    const shard = {
      firstLayer,
      endLayer: firstLayer + count,
      embedding: i === firstStage,
      head: i === counts.length - 1,
    };
    firstLayer += count;
    return shard;
  });
}

function checkCounts(
  modelLayers: number,
  candidates: readonly Candidate[],
  counts: readonly number[],
): void {
  const sum = counts.reduce((total, count) => total + count, 0);
  const shown = counts.join(',');
  if (counts.length !== candidates.length)
    throw new CoordinatorError(
      'plan',
      `--layers ${shown} is for ${counts.length} stages, but there are ${candidates.length} (the coordinator and ${candidates.length - 1} workers): give one count for each`,
    );
  if (sum !== modelLayers)
    throw new CoordinatorError(
      'plan',
      `--layers ${shown} adds up to ${sum}, but the model has ${modelLayers} layers`,
    );
  if (
    counts.some(
      (count, i) => !Number.isInteger(count) || count < (i === 0 && counts.length > 1 ? 0 : 1),
    )
  )
    throw new CoordinatorError(
      'plan',
      `--layers ${shown}: every stage needs at least 1 layer (only the coordinator may have 0)`,
    );
}

/** In proportion to free memory by largest remainder, at least one layer each. */
function proportionalCounts(modelLayers: number, candidates: readonly Candidate[]): number[] {
  if (candidates.length > modelLayers)
    throw new CoordinatorError(
      'plan',
      `${candidates.length} stages for ${modelLayers} layers: use fewer workers`,
    );
  const spare = modelLayers - candidates.length;
  const memory = candidates.map(
    ({ machine, freeBytes }) => freeBytes / candidates.filter((c) => c.machine === machine).length,
  );
  const total = memory.reduce((sum, bytes) => sum + bytes, 0) || 1;
  const shares = memory.map((bytes) => (spare * bytes) / total);
  const counts = shares.map((share) => 1 + Math.floor(share));
  const byRemainder = shares
    .map((share, i) => ({ i, rest: share % 1 }))
    .sort((a, b) => b.rest - a.rest);
  let left = modelLayers - counts.reduce((sum, count) => sum + count, 0);
  for (const { i } of byRemainder) {
    if (left-- <= 0) break;
    counts[i] = (counts[i] ?? 0) + 1;
  }
  return counts;
}

/**
 * Whether every machine has memory for its stages, and for as much again as their cells take.
 * @param stages memory of each, in the order of the candidates
 */
export function leavesMemory(
  stages: readonly StageMemory[],
  candidates: readonly Candidate[],
): boolean {
  return machinesOf(candidates).every((places) => {
    const needed = sumOf(places.map((i) => stages[i] as StageMemory));
    const left = (1 - headroom) * freeOf(places, candidates) - needed.weights - needed.compute;
    return needed.kv <= cellShare * left;
  });
}

/** @throws CoordinatorError 'memory' with the figures, when a machine has too little for its stages. */
export function checkMemory(plan: Plan, candidates: readonly Candidate[]): void {
  for (const places of machinesOf(candidates)) {
    const stages = places.map((i) => plan.stages[i] as PlannedStage);
    const free = freeOf(places, candidates);
    const { weights, kv, compute } = sumOf(stages.map(({ memory }) => memory));
    const needed = weights + kv + compute;
    if (needed > (1 - headroom) * free)
      throw new CoordinatorError(
        'memory',
        `not enough memory for ${stages.map(({ name, layers }) => `${layers} layers on ${name}`).join(' and ')}: needs ${megabytes(needed)} MB (weights ${megabytes(weights)}, KV cache ${megabytes(kv)}, compute ${megabytes(compute)}), ${megabytes(free)} MB are free, of which ${headroom * 100} % stay free: give it fewer layers (--layers), use a smaller --context or add a worker`,
      );
  }
}

/** Which candidates are on the same machine. */
function machinesOf(candidates: readonly Candidate[]): number[][] {
  const machines = new Map<string, number[]>();
  for (const [i, { machine }] of candidates.entries())
    machines.set(machine, [...(machines.get(machine) ?? []), i]);
  return [...machines.values()];
}

function freeOf(places: readonly number[], candidates: readonly Candidate[]): number {
  return Math.min(...places.map((i) => (candidates[i] as Candidate).freeBytes));
}

function sumOf(stages: readonly StageMemory[]): StageMemory {
  const sum = (part: keyof StageMemory) => stages.reduce((total, stage) => total + stage[part], 0);
  return { weights: sum('weights'), kv: sum('kv'), compute: sum('compute') };
}

function megabytes(bytes: number): number {
  return Math.ceil(bytes / 1e6);
}
