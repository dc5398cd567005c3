import type { UniformSizes } from '../uniform-sizes.js';
import { hasWayForLoneTokens, type AttentionForm } from '../graph/attention-form.js';
import { segmentInput, stepInput } from '../graph/input-names.js';
import { rowsOfLoneToken } from '../graph/lone-token-attention.js';
import { fixed } from '../runtime/fixed-arrays.js';
import type { IoBinding } from '../runtime/io-binding.js';

/** A segment as the inputs of its place tell of it. */
export interface PlacedSegment {
  readonly rows: number;
  /** Cells that its last row sees, from the first one that is bound. */
  readonly seen: number;
}

/** The inputs of the places that a graph has for segments. */
export class PlaceInputs {
  readonly #places: readonly Place[];
  readonly #segmentRows: BigInt64Array;
  readonly #calibrates = fixed.bool(1);

  constructor(
    private readonly form: AttentionForm,
    sizes: UniformSizes,
  ) {
    this.#places = Array.from({ length: form.places }, (_, i) => new Place(i, form, sizes));
    this.#segmentRows = fixed.i64(form.places);
  }

  bind(binding: IoBinding): void {
    for (const place of this.#places) place.bind(binding);
    const { places, storage } = this.form;
    if (places > 1) binding.input(stepInput.segmentRows, this.#segmentRows, [places]);
    else if (storage === 'int8') binding.input(stepInput.calibrates, this.#calibrates, [1]);
  }

  /** @param calibratesKv whether scales are to fit the step */
  set(segments: readonly PlacedSegment[], calibratesKv: boolean): void {
    this.#calibrates[0] = calibratesKv ? 1 : 0;
    this.#places.forEach((place, i) => {
      const segment = segments[i] ?? { rows: 0, seen: 1 };
      this.#segmentRows[i] = BigInt(segment.rows);
      place.set(segment);
    });
  }
}

/** The inputs of one place. */
class Place {
  readonly #lastCell = fixed.i32(1);
  readonly #cells = fixed.i32(1);
  readonly #isEmpty = fixed.bool(1);
  readonly #isAlone = fixed.bool(1);
  readonly #nextCells: BigInt64Array;
  readonly #maskPadding = fixed.i64(8);

  constructor(
    private readonly index: number,
    private readonly form: AttentionForm,
    sizes: UniformSizes,
  ) {
    this.#nextCells = fixed.i64(form.spreadsLoneTokens ? rowsOfLoneToken(sizes) - 1 : 0);
  }

  bind(binding: IoBinding): void {
    const { form } = this;
    const names = segmentInput(this.index);
    binding.input(names.lastCell, this.#lastCell, [1]);
    binding.input(names.cells, this.#cells, []);
    if (form.places > 1) binding.input(names.isEmpty, this.#isEmpty, [1]);
    if (hasWayForLoneTokens(form)) binding.input(names.isAlone, this.#isAlone, [1]);
    if (!form.spreadsLoneTokens) return;
    binding.input(names.nextCells, this.#nextCells, [this.#nextCells.length]);
    binding.input(names.maskPadding, this.#maskPadding, [8]);
  }

  set({ rows, seen }: PlacedSegment): void {
    const isAlone = rows === 1;
    this.#isEmpty[0] = rows === 0 ? 1 : 0;
    this.#isAlone[0] = isAlone ? 1 : 0;
    // A token that is alone takes the cells behind its own along.
    const cells = isAlone ? seen + this.#nextCells.length : seen;
    this.#cells[0] = cells;
    this.#lastCell[0] = cells - 1;
    if (!isAlone) return;
    for (let i = 0; i < this.#nextCells.length; i++) this.#nextCells[i] = BigInt(seen + i);
    // Columns before those that hide, which is the last dimension.
    this.#maskPadding[3] = BigInt(seen);
  }
}
