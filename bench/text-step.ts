import type { CellRange } from '../coord/cells.js';
import { causalSegment, type CausalText } from '../coord/segments.js';
import { greedy } from '../step/sampling.js';
import { noState, type Step } from '../step/step.js';

/** A part of a text, and what is wanted of it. */
export interface TextPart {
  /** Default 0. */
  readonly first?: number;
  /** Default: to the end of the text. */
  readonly count?: number;
  readonly cells: CellRange;
  /** Default: all. */
  readonly choices?: CausalText['choices'];
  readonly sampling?: CausalText['sampling'];
}

/** A step in which a stage reads a part of a text; for stages that are used without a pipeline. */
export function textStep(text: ArrayLike<number>, part: TextPart): Step {
  const { first = 0, count = text.length - first, choices = 'all', sampling = greedy } = part;
  const segment = causalSegment({
    sequence: 1,
    text: Int32Array.from(text),
    first,
    count,
    cells: part.cells,
    choices,
    sampling,
    state: { read: first === 0 ? noState : 0, write: 0 },
  });
  return { id: 1, epoch: 1, segments: [segment] };
}
