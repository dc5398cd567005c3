/**
 * The fewest items whose weights together reach what is wanted, those with the smallest keys first; of equal keys the
 * earlier ones. Without sorting them: quickselect by weight.
 * @param keys of the items @param weights of the items
 * @returns in the order of the items, one at least; all where they do not reach it
 */
export function fewestReaching(
  items: Int32Array,
  keys: Float64Array,
  weights: Float64Array,
  wanted: number,
): Int32Array {
  const last = lastOfFewest(keys, weights, wanted);
  const lastKey = keys[last]!;
  const kept = new Int32Array(items.length);
  let count = 0;
  for (let i = 0; i < items.length; i++)
    if (keys[i]! < lastKey || (keys[i] === lastKey && i <= last)) kept[count++] = items[i]!;
  return kept.subarray(0, count);
}

/** The index of the one that comes last of those. */
function lastOfFewest(keys: Float64Array, weights: Float64Array, wanted: number): number {
  const order = new Uint32Array(keys.length);
  for (let i = 0; i < order.length; i++) order[i] = i;
  let settled = 0;
  let reached = 0;
  let end = order.length;
  while (end - settled > 1) {
    // What comes before the one in the middle goes to the front, and that one behind it.
    const middle = (settled + end) >> 1;
    const pivot = order[middle]!;
    const pivotKey = keys[pivot]!;
    order[middle] = order[end - 1]!;
    let place = settled;
    let weight = 0;
    for (let i = settled; i < end - 1; i++) {
      const item = order[i]!;
      const key = keys[item]!;
      if (key > pivotKey || (key === pivotKey && item > pivot)) continue;
      weight += weights[item]!;
      order[i] = order[place]!;
      order[place++] = item;
    }
    order[end - 1] = order[place]!;
    order[place] = pivot;
    if (place > settled && reached + weight >= wanted) {
      end = place;
      continue;
    }
    settled = place + 1;
    reached += weight + weights[pivot]!;
    if (reached >= wanted) end = settled;
  }
  return order[end - 1]!;
}
