import { greedy, type Sampling } from '../step/sampling.js';
import { TokenText, type Mark } from '../step/token-text.js';
import type { CellRange } from './cells.js';
import type { TokenQueue } from './token-queue.js';

let lastId = 0;

/** One text on its way through the stages: its tokens, its cells, how it is sampled, and where its tokens go. */
export class Sequence {
  /** 1 to 2^32 - 1; names it in steps. */
  readonly id = (lastId = (lastId % 0xffff_ffff) + 1);
  readonly text = new TokenText();
  /** Leading tokens whose keys and values are in the cells of the route. */
  readonly computed: Mark = this.text.mark();
  sampling: Sampling = greedy;
  /** Takes the tokens that are generated; undefined while none are. */
  output: TokenQueue | undefined;
  #epoch = 0;

  /** @param cells token i of the text belongs in cell `start + i` */
  constructor(readonly cells: CellRange) {}

  /** The route that holds its keys and values. */
  get epoch(): number {
    return this.#epoch;
  }

  /** A route is about to compute. On another one than before, nothing is in the cells. */
  enter(epoch: number): void {
    if (epoch !== this.#epoch) this.computed.at = 0;
    this.#epoch = epoch;
  }
}
