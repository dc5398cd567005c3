/** Root of the mean squared difference, over the deviation of the reference. */
export function relativeError(values: Float32Array, reference: Float32Array): number {
  let error = 0;
  let power = 0;
  reference.forEach((expected, i) => {
    error += ((values[i] as number) - expected) ** 2;
    power += expected ** 2;
  });
  return Math.sqrt(error / power);
}
