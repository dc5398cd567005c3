import { stageMs, type StageCosts, type StepCost } from './cost-model.js';

/** What steps of about one size really took: means. */
export interface SeenSteps {
  /** How many steps the means are worth. */
  readonly steps: number;
  readonly tokens: number;
  /** That a token looks at. */
  readonly cells: number;
  readonly ms: number;
}

/** Larger steps are chunks of prompts. Smaller ones take what was measured: drafts are planned by their differences. */
const mostDecoded = 16;

/** Of a step's time, that which does not depend on the text's length is at least this share. */
const leastShare = 0.1;

/**
 * A stage's costs by what steps took in a short text, and some of them in a longer one too.
 * @param seen sizes ascending, first those in the short text
 */
export function costsOf(seen: readonly SeenSteps[]): StageCosts {
  const firstOf = ({ tokens }: SeenSteps) => seen.find((steps) => steps.tokens === tokens);
  const slopes = seen.flatMap((long): StepCost[] => {
    const short = firstOf(long);
    if (!short || short === long) return [];
    const msPerCell = (long.ms - short.ms) / (long.cells - short.cells);
    return [{ tokens: long.tokens, ms: Math.max(0, msPerCell) }];
  });
  return seen
    .filter((steps) => firstOf(steps) === steps)
    .map((short) => costOf(short, stageMs(slopes, short.tokens)));
}

function costOf({ tokens, cells, ms }: SeenSteps, msPerCell: number): StepCost {
  return { tokens, ms: Math.max(ms - msPerCell * cells, ms * leastShare), msPerCell };
}

/** Steps that say more than chance. */
const enoughSteps = 2;

/** A stage's costs with those of chunks as they have been seen. */
export function withSeenChunks(costs: StageCosts, seen: readonly SeenSteps[]): StageCosts {
  const chunks = seen.filter(({ tokens }) => tokens > mostDecoded);
  if (chunks.length === 0) return costs;
  const isSeen = ({ tokens }: StepCost) =>
    chunks.some((chunk) => sizeClass(chunk) === sizeClass({ tokens }));
  const points = chunks.map((chunk) =>
    costOf(chunk, stageMs(costs, chunk.tokens, 1) - stageMs(costs, chunk.tokens, 0)),
  );
  return [...costs.filter((point) => !isSeen(point)), ...points].sort(
    (a, b) => a.tokens - b.tokens,
  );
}

/** Whether steps of any size take longer or shorter than the costs say, by more than a factor. */
export function areFarOff(costs: StageCosts, seen: readonly SeenSteps[], factor: number): boolean {
  return seen.some(({ steps, tokens, cells, ms }) => {
    const expected = stageMs(costs, tokens, cells);
    return steps >= enoughSteps && (ms > expected * factor || ms < expected / factor);
  });
}

function sizeClass({ tokens }: Pick<StepCost, 'tokens'>): number {
  return Math.floor(Math.log2(tokens));
}
