import type { FamilyNumbers } from '../family-numbers.js';

/** What a family has where a file says nothing. */
export interface WindowDefaults {
  /** Of so many layers the last sees the whole text. */
  readonly period: number;
  /** Cells that a token sees in the others; absent where the file has to say it. */
  readonly size?: number;
}

/** What layers with a window may have of their own in some families. */
const headSizes = ['attention.key_length', 'attention.value_length'] as const;
const ownSizes = ['rope.dimension_count', ...headSizes] as const;
type OwnSize = (typeof ownSizes)[number];

/**
 * The sliding windows of layers (arXiv 2004.05150), in a pattern that repeats.
 * @returns the cells that a token sees in a layer; undefined where it sees the whole text
 * @throws ModelError
 */
export function readWindows(
  numbers: FamilyNumbers,
  { period, size }: WindowDefaults,
): (layer: number) => number | undefined {
  refuseOwnSizes(numbers, ownSizes);
  const window = numbers.of('attention.sliding_window', size);
  const hasWindow = readPattern(numbers, period);
  return (layer) => (window > 0 && hasWindow(layer) ? window : undefined);
}

/**
 * The same in layers that a file lists.
 * @param hasOwnRotation whether another share of heads may be rotated in layers with a window
 * @throws ModelError
 */
export function readListedWindows(
  numbers: FamilyNumbers,
  layers: number,
  { hasOwnRotation = false } = {},
): readonly (number | undefined)[] {
  refuseOwnSizes(numbers, hasOwnRotation ? headSizes : ownSizes);
  const window = numbers.of('attention.sliding_window');
  const listed = numbers.flags('attention.sliding_window_pattern');
  if (window === 0 || listed === undefined || listed.length < layers)
    throw numbers.atOdds(`no window, or no list of which of ${layers} layers have one`);
  return listed.slice(0, layers).map((flag) => (flag ? window : undefined));
}

function refuseOwnSizes(numbers: FamilyNumbers, names: readonly OwnSize[]): void {
  for (const name of names)
    if (numbers.has(`${name}_swa`) && numbers.of(`${name}_swa`) !== numbers.of(name, 0))
      throw numbers.unsupported(`${name}_swa`, 'differs from that of layers without a window');
}

/** Files say the period, or for every layer what the family's period makes of it. */
function readPattern(numbers: FamilyNumbers, usual: number): (layer: number) => boolean {
  const listed = numbers.flags('attention.sliding_window_pattern');
  const period = listed ? usual : numbers.of('attention.sliding_window_pattern', usual);
  const hasWindow = (layer: number) => period === 0 || layer % period < period - 1;
  if (listed?.some((flag, layer) => flag !== hasWindow(layer)))
    throw numbers.unsupported(
      'attention.sliding_window_pattern',
      `is not ${period - 1} layers with a window to one without`,
    );
  return hasWindow;
}
