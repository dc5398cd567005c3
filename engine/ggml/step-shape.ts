import type { Shard } from '../../step/shard.js';
import type { Step, Visible } from '../../step/step.js';
import type { HeadDemand } from '../sampling/step-results.js';
import type { SegmentShape } from './attention/attention.js';
import type { KvCache } from './attention/kv-cache.js';

/** Graphs of equal shape are interchangeable. */
export interface StepShape {
  readonly segments: readonly SegmentShape[];
  /** What is asked of the head; undefined when it is nothing, or when there is none. */
  readonly head: HeadShape | undefined;
}

export interface HeadShape extends Pick<HeadDemand, 'likeliest' | 'logits'> {
  readonly rows: number;
}

export function stepShape({ segments }: Step, demand: HeadDemand, kv: KvCache): StepShape {
  const { likeliest, logits } = demand;
  const rows = demand.rows.length;
  return {
    segments: segments.map(({ positions, visible }) => ({
      rows: positions.length,
      tiles: kv.way.tiles(positions),
      ...windowOf(visible.windowStart, seenEnd(visible), kv),
    })),
    head: rows > 0 ? { rows, likeliest, logits } : undefined,
  };
}

/** @param end of the cells that are looked at */
function windowOf(windowStart: number, end: number, { way: { windowStep, cells } }: KvCache) {
  const whole = Math.ceil((end - windowStart) / windowStep) * windowStep;
  return { windowStart, windowLength: Math.min(whole, cells - windowStart) };
}

/** Where the last cell ends that a segment sees: the window that it names may be longer. */
function seenEnd({ ranges, windowStart }: Visible): number {
  let end = windowStart + 1;
  for (let i = 1; i < ranges.length; i += 2) end = Math.max(end, ranges[i]!);
  return end;
}

/** Equal for equal shapes. */
export function shapeKey({ segments, head }: StepShape): string {
  const parts = segments.map(
    ({ rows, tiles, windowStart, windowLength }) =>
      `${rows} ${tiles.join('-')} ${windowStart} ${windowLength}`,
  );
  if (head) parts.push(`${head.rows} ${head.likeliest} ${head.logits}`);
  return parts.join(', ');
}

/** Rows whose logits scratch memory is reserved for; more are possible and make it grow. */
const reservedHeadRows = 16;

/**
 * The shapes that need most: the largest chunk of a prompt, alone and with a row of another sequence, and drafts that
 * are checked.
 */
export function reservedShapes({ head }: Shard, kv: KvCache, maxStepRows: number): StepShape[] {
  const segment = (rows: number) => ({
    rows,
    tiles: kv.way.tiles(Int32Array.from({ length: rows }, (_, i) => i)),
    ...windowOf(0, kv.way.cells, kv),
  });
  const headOf = (rows: number) => (head ? { rows, likeliest: true, logits: true } : undefined);
  const few = Math.min(reservedHeadRows, maxStepRows);
  const shapes: StepShape[] = [
    { segments: [segment(maxStepRows)], head: headOf(1) },
    { segments: [segment(few)], head: headOf(few) },
  ];
  if (maxStepRows > 1)
    shapes.push({ segments: [segment(maxStepRows - 1), segment(1)], head: headOf(2) });
  return shapes;
}
