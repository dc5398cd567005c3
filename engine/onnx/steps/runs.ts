import type { Segment, Step } from '../../../step/step.js';

/** Segments of a step that are computed at once; their rows follow each other. */
export interface Run {
  readonly segments: readonly Segment[];
  /** Rows [firstRow, endRow) of the step. */
  readonly firstRow: number;
  readonly endRow: number;
  /** The first cell that each segment sees, where attention needs no mask. */
  readonly starts: readonly number[] | undefined;
  readonly calibratesKv: boolean;
}

/**
 * Cuts a step into runs, in the order of its segments.
 * @param startOf the first cell that a segment sees; undefined when it needs a mask, and so a run of its own
 * @param most segments in one run
 */
export function runsOf(
  { segments, calibratesKv = false }: Pick<Step, 'segments' | 'calibratesKv'>,
  startOf: (segment: Segment) => number | undefined,
  most: number,
): Run[] {
  const runs: Run[] = [];
  let firstRow = 0;
  for (const segment of segments) {
    const endRow = firstRow + segment.tokens.length;
    const start = startOf(segment);
    const last = runs.at(-1);
    if (start !== undefined && last?.starts && last.segments.length < most)
      runs[runs.length - 1] = {
        ...last,
        segments: [...last.segments, segment],
        endRow,
        starts: [...last.starts, start],
      };
    else {
      const starts = start === undefined ? undefined : [start];
      runs.push({ segments: [segment], firstRow, endRow, starts, calibratesKv });
    }
    firstRow = endRow;
  }
  return runs;
}
