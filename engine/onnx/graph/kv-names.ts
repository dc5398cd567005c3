/** What is kept of every layer. */
export const cacheKinds = ['keys', 'values'] as const;
export type CacheKind = (typeof cacheKinds)[number];

/**
 * Names of a layer's keys and values, and of their scales where they are whole numbers. The same memory is bound to
 * past and present.
 */
export function cacheNames(layer: number, kind: CacheKind) {
  return {
    past: `past ${kind} ${layer}`,
    present: `present ${kind} ${layer}`,
    pastScales: `past scales of ${kind} ${layer}`,
    presentScales: `present scales of ${kind} ${layer}`,
  };
}

/** One name of a layer's keys, and the same of its values. */
export function namesOf(layer: number, what: keyof ReturnType<typeof cacheNames>): string[] {
  return cacheKinds.map((kind) => cacheNames(layer, kind)[what]);
}
