/** Cells of a page: the run of them that is shared, moved and forgotten as one. Page p is cells [p * pageCells, (p + 1) * pageCells). */
export const pageCells = 256;
