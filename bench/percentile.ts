/**
 * The least value that a share of all values do not exceed (nearest rank).
 * @param share above 0, at most 1
 * @returns NaN of no values
 */
export function percentile(values: readonly number[], share: number): number {
  const ascending = [...values].sort((a, b) => a - b);
  return ascending[Math.ceil(share * values.length) - 1] ?? NaN;
}
