import type { KvStorage } from '../kv/kv-type.js';

/** How a graph attends. */
export interface AttentionForm {
  readonly storage: KvStorage;
  /** Segments that there are places for. */
  readonly places: number;
  /** Whether the places are for the parts of one segment (`steps/parts.ts`). */
  readonly isInParts: boolean;
  /** Whether a mask says what rows see; otherwise all cells up to their own. */
  readonly isMasked: boolean;
  /**
   * Whether a token that is alone attends as several rows: for one row of queries ONNX Runtime has another kernel than
   * for several, which rounds differently, so that checking a draft could give another token than decoding does. To
   * int8 it attends in the same way whatever the rows.
   */
  readonly spreadsLoneTokens: boolean;
  /** Whether the only row of a step comes twice, as products with one row round differently (`product-rows.ts`). */
  readonly doublesLoneRow: boolean;
}

/** Whether a token that is alone attends in a way of its own. */
export function hasWayForLoneTokens(form: AttentionForm): boolean {
  return !form.isMasked && (form.spreadsLoneTokens || form.doublesLoneRow);
}

/** Whether a place is for rows in blocks. */
export function isForBlocks({ isInParts, storage }: AttentionForm, place: number): boolean {
  return isInParts && storage === 'int8' && place === 1;
}

/** Whether scales change where a step calibrates them: such a step has one segment. */
export function findsScales({ storage, places }: AttentionForm): boolean {
  return storage === 'int8' && places === 1;
}
