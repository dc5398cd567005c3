import { keepsStates, layerMemory, type Layer } from '../model/architectures/layer.js';
import { pageCells, pagesFor } from '../step/pages.js';
import type { CoordinatorOptions } from './coordinator-options.js';

/** How many cells stages have, and how long texts may be in them. */
export interface CellBudget {
  /** Tokens that one text may have. */
  readonly context: number;
  /** On every stage. */
  readonly cells: number;
}

/** Whether texts can share cells: all that layers keep of them is in cells of their own, which can be moved and cut. */
export function sharesCells(layers: readonly Layer[]): boolean {
  const memories = layers.map(layerMemory);
  return !keepsStates(layers) && memories.every((memory) => !('window' in memory));
}

/**
 * Cells for so many conversations: of the context that is asked for, or of the model's, as far as there is memory.
 * @param modelContext tokens that the model was trained for
 * @param fits whether so many cells leave enough memory to others
 */
export function cellBudget(
  { context, conversations = 1 }: Pick<CoordinatorOptions, 'context' | 'conversations'>,
  modelContext: number,
  isShared: boolean,
  fits: (cells: number) => boolean,
): CellBudget {
  const sizeOf = (length: number) => (isShared ? pagesFor(length) * pageCells : length);
  if (context !== undefined) return { context, cells: sizeOf(context) * conversations };
  if (!isShared) {
    const each =
      pageCells * most(pagesFor(modelContext), (pages) => fits(pages * pageCells * conversations));
    const length = Math.min(each, modelContext);
    return { context: length, cells: length * conversations };
  }
  const wanted = pagesFor(modelContext) * conversations;
  const cells = pageCells * most(wanted, (pages) => fits(pages * pageCells));
  return { context: Math.min(cells, modelContext), cells };
}

/** The largest number from 1 to `limit` that fits; 1 if none does. */
function most(limit: number, fits: (count: number) => boolean): number {
  if (fits(limit)) return limit;
  let [low, high] = [1, limit];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (fits(middle)) low = middle;
    else high = middle;
  }
  return low;
}
