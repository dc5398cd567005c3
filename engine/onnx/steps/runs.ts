import type { Segment, Step } from '../../../step/step.js';

/** Segments of a step that are computed at once; their rows follow each other. */
export interface Run {
  readonly segments: readonly Segment[];
  /** Rows [firstRow, endRow) of the step. */
  readonly firstRow: number;
  readonly endRow: number;
  /** The first cell that each segment sees, where attention needs no mask. */
  readonly starts: readonly number[] | undefined;
  /** Rows of the parts that its only segment is cut into, where it is. */
  readonly parts: readonly number[] | undefined;
  readonly calibratesKv: boolean;
}

/**
 * Cuts a step into runs, in the order of its segments.
 * @param startOf the first cell that a segment sees; undefined when it needs a mask, and so a run of its own
 * @param partsOf the parts of a segment that needs no mask, which then has a run of its own; undefined when it is not cut
 * @param most segments in one run
 */
export function runsOf(
  { segments, calibratesKv = false }: Pick<Step, 'segments' | 'calibratesKv'>,
  startOf: (segment: Segment) => number | undefined,
  partsOf: (segment: Segment, start: number) => readonly number[] | undefined,
  most: number,
): Run[] {
  const runs: Run[] = [];
  let firstRow = 0;
  for (const segment of segments) {
    const endRow = firstRow + segment.tokens.length;
    const start = startOf(segment);
    const isWhole = start === undefined || calibratesKv;
    const parts = isWhole ? undefined : partsOf(segment, start);
    const last = runs.at(-1);
    const isJoinable = last?.starts && !last.parts && last.segments.length < most;
    if (start !== undefined && !parts && isJoinable)
      runs[runs.length - 1] = {
        ...last,
        segments: [...last.segments, segment],
        endRow,
        starts: [...last.starts, start],
      };
    else {
      const starts = start === undefined ? undefined : [start];
      runs.push({ segments: [segment], firstRow, endRow, starts, parts, calibratesKv });
    }
    firstRow = endRow;
  }
  return runs;
}
