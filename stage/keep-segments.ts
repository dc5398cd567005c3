import { rowsOfStep, type Segment, type Step } from '../step/step.js';

/**
 * The step with only those segments that are wanted.
 * @param rows [rows, rowSize] f32: the step's hidden states, whose kept rows move up in place; or empty
 * @returns the same step when all are kept, undefined when none is
 */
export function keepSegments(
  step: Step,
  isWanted: (segment: Segment) => boolean,
  rows: Float32Array,
  rowSize: number,
): Step | undefined {
  const segments = step.segments.filter(isWanted);
  if (segments.length === step.segments.length) return step;
  if (segments.length === 0) return undefined;
  if (rows.length > 0) moveUp(step, new Set(segments), rows, rowSize);
  return { ...step, segments };
}

function moveUp(step: Step, kept: ReadonlySet<Segment>, rows: Float32Array, rowSize: number): void {
  let from = 0;
  let to = 0;
  for (const segment of step.segments) {
    const values = segment.tokens.length * rowSize;
    if (kept.has(segment)) {
      rows.copyWithin(to, from, from + values);
      to += values;
    }
    from += values;
  }
}

/** The hidden states of a step at the beginning of a larger buffer, or nothing where there are none. */
export function rowsOf(step: Step, buffer: Float32Array, rowSize: number): Float32Array {
  return buffer.subarray(0, rowsOfStep(step) * rowSize);
}
