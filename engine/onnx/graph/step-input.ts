/** Names of the tensors that every layer refers to. */
export const stepInput = {
  /** f32 [1, n, hiddenSize] */
  hidden: 'hidden',
  /** f32 [n, rotated / 2]: of every token's position. */
  cosines: 'cosines',
  sines: 'sines',
  /** i64 [1, n]: 0 to n - 1, the rows of the tables above. */
  rotations: 'rotations',
  /** i32 [1]: the last cell, counted from the first one that is bound. */
  lastCell: 'last cell',
  /** i32, no dimensions: `last cell` + 1. */
  cells: 'cells',
  /** f32 [1, 1, n, cells]: what is added to a token's attention scores; only in graphs that are masked. */
  mask: 'mask',
  /** For graphs that are invariant, bool [1]: whether there is one token. */
  isAlone: 'is alone',
  /** i64 [rows - 1]: then, the cells behind its own. */
  nextCells: 'next cells',
  /** i64 [8]: then, how many columns are before those that hide these cells, as Pad takes them. */
  maskPadding: 'mask padding',
  /** For graphs that keep whole numbers, bool [1]: whether scales are to fit the step. */
  calibrates: 'calibrates',
  /** i64 [outputs] */
  outputRows: 'output rows',
} as const;
