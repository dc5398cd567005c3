/** What is kept of every layer. */
export const cacheKinds = ['keys', 'values'] as const;
export type CacheKind = (typeof cacheKinds)[number];

/** Names of two tensors that are bound to the same memory: as a step finds it, and as it leaves it. */
export interface PastAndPresent {
  readonly past: string;
  readonly present: string;
}

/** Names of a layer's keys or values. @param place of the segment whose they are */
export function cellNames(layer: number, kind: CacheKind, place = 0): PastAndPresent {
  const name = `${kind} of layer ${layer}, segment ${place}`;
  return { past: `past ${name}`, present: `present ${name}` };
}

/** Names of the scales that a layer's keys or values have where they are whole numbers. */
export function scaleNames(layer: number, kind: CacheKind): PastAndPresent {
  const name = `scales of ${kind} of layer ${layer}`;
  return { past: `past ${name}`, present: `present ${name}` };
}
