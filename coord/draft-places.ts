import type { CellRange } from './cells.js';

/** Where a draft model keeps a text. */
export interface DraftPlace {
  readonly cells: CellRange;
  /** For states, where its layers keep those. */
  readonly slots: readonly number[];
}

interface UsedPlace<Owner> {
  readonly place: DraftPlace;
  owner: Owner | undefined;
}

/** Equal places for some texts: whoever needs one gets that which was used longest ago. */
export class DraftPlaces<Owner> {
  /** The one used longest ago first. */
  readonly #places: UsedPlace<Owner>[];

  constructor(count: number, cellsEach: number, slotsEach: number) {
    this.#places = Array.from({ length: count }, (_, i) => ({
      place: {
        cells: { start: i * cellsEach, length: cellsEach },
        slots: Array.from({ length: slotsEach }, (_, slot) => i * slotsEach + slot),
      },
      owner: undefined,
    }));
  }

  /** @returns the owner's place, and whether it has just become its own, with the leavings of another in it */
  use(owner: Owner): { readonly place: DraftPlace; readonly isNew: boolean } {
    const had = this.#places.findIndex((each) => each.owner === owner);
    const [used] = this.#places.splice(Math.max(0, had), 1) as [UsedPlace<Owner>];
    used.owner = owner;
    this.#places.push(used);
    return { place: used.place, isNew: had < 0 };
  }
}
