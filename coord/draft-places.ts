import { equalPlaces, type Place } from './cells.js';

interface UsedPlace<Owner> {
  readonly place: Place;
  owner: Owner | undefined;
}

/** Equal places for some texts: whoever needs one gets that which was used longest ago. */
export class DraftPlaces<Owner> {
  /** The one used longest ago first. */
  readonly #places: UsedPlace<Owner>[];

  constructor(count: number, cellsEach: number, slotsEach: number) {
    this.#places = equalPlaces(count, cellsEach, slotsEach).map((place) => ({
      place,
      owner: undefined,
    }));
  }

  /** @returns the owner's place, and whether it has just become its own, with the leavings of another in it */
  use(owner: Owner): { readonly place: Place; readonly isNew: boolean } {
    const had = this.#places.findIndex((each) => each.owner === owner);
    const [used] = this.#places.splice(Math.max(0, had), 1) as [UsedPlace<Owner>];
    used.owner = owner;
    this.#places.push(used);
    return { place: used.place, isNew: had < 0 };
  }
}
