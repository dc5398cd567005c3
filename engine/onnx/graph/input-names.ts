/** Names of the inputs that are there once for a step, whatever its segments. */
export const stepInput = {
  /** f32 [1, n, hiddenSize] */
  hidden: 'hidden',
  /** f32 [n, rotated / 2]: of every row's position. */
  cosines: 'cosines',
  sines: 'sines',
  /** i64 [1, n]: 0 to n - 1, the rows of the tables above. */
  rotations: 'rotations',
  /** f32 [1, 1, n, cells]: what is added to a row's attention scores; only in graphs that are masked. */
  mask: 'mask',
  /** bool [1]: whether scales are to fit the step; only in graphs that keep whole numbers. */
  calibrates: 'calibrates',
  /** i64 [places]: rows of each segment; only in graphs of several. */
  segmentRows: 'segment rows',
  /** i64 [rows that the head is asked for] */
  outputRows: 'output rows',
} as const;

/** Names of the inputs that every segment has of its own. @param place of the segment in the graph */
export function segmentInput(place: number) {
  const of = (what: string) => `${what} of segment ${place}`;
  return {
    /** i32 [1]: the last cell, counted from the first one that is bound. */
    lastCell: of('last cell'),
    /** i32, no dimensions: `lastCell` + 1. */
    cells: of('cells'),
    /** bool [1]: whether it has no rows; only in graphs of several. */
    isEmpty: of('is empty'),
    /** bool [1]: whether it is one token; only where such a token is computed in a way of its own. */
    isAlone: of('is alone'),
    /** i64 [rows - 1]: cells behind that of a token that is alone, where it attends as several rows. */
    nextCells: of('next cells'),
    /** i64 [8]: how many columns are before those that hide these cells, as Pad takes them. */
    maskPadding: of('mask padding'),
  };
}
