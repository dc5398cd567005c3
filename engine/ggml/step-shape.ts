import type { Shard } from '../../step/shard.js';
import type { Step } from '../../step/step.js';
import type { HeadDemand } from '../sampling/step-results.js';

/** Graphs of equal shape are interchangeable. */
export interface StepShape {
  readonly segments: readonly SegmentShape[];
  /** What is asked of the head; undefined when it is nothing, or when there is none. */
  readonly head: HeadShape | undefined;
}

export interface SegmentShape {
  readonly rows: number;
  readonly windowStart: number;
  readonly windowLength: number;
}

export interface HeadShape extends Pick<HeadDemand, 'likeliest' | 'logits'> {
  readonly rows: number;
}

export function stepShape({ segments }: Step, demand: HeadDemand): StepShape {
  const { likeliest, logits } = demand;
  const rows = demand.rows.length;
  return {
    segments: segments.map(({ tokens, visible: { windowStart, windowLength } }) => ({
      rows: tokens.length,
      windowStart,
      windowLength,
    })),
    head: rows > 0 ? { rows, likeliest, logits } : undefined,
  };
}

/** Equal for equal shapes. */
export function shapeKey({ segments, head }: StepShape): string {
  const parts = segments.map(
    ({ rows, windowStart, windowLength }) => `${rows} ${windowStart} ${windowLength}`,
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
export function reservedShapes({ head }: Shard, cells: number, maxStepRows: number): StepShape[] {
  const segment = (rows: number) => ({ rows, windowStart: 0, windowLength: cells });
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
