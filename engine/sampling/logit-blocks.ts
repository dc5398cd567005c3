/** Logits per block: as many as make both reading all of them and looking through a few blocks cheap (measured). */
const blockSize = 256;

/** A sum of probabilities that is known to lie between two values. */
export interface Bounds {
  readonly least: number;
  readonly most: number;
}

/**
 * A row of logits with the largest of every block of neighbours, so that whoever looks for few tokens of a large
 * vocabulary reads it once, and then only the blocks in which those can be.
 */
export class LogitBlocks {
  /** The largest logit. */
  readonly max: number;
  readonly #largest: Float32Array;

  /** @param logits [vocabulary] f32; they may not change while this is used */
  constructor(readonly logits: Float32Array) {
    this.#largest = new Float32Array(Math.ceil(logits.length / blockSize));
    let max = -Infinity;
    for (let block = 0; block < this.#largest.length; block++) {
      const largest = largestWithin(logits, block * blockSize, (block + 1) * blockSize);
      this.#largest[block] = largest;
      if (largest > max) max = largest;
    }
    this.max = max;
  }

  /** The likeliest token; of equally likely ones the smallest. */
  likeliest(): number {
    const block = this.#largest.indexOf(this.max);
    return Math.max(0, this.logits.indexOf(this.max, block * blockSize));
  }

  /** Tokens with at least this logit, ascending. */
  atLeast(floor: number): Int32Array {
    const { logits } = this;
    let found = new Int32Array(blockSize);
    let count = 0;
    for (let block = 0; block < this.#largest.length; block++) {
      if (!(this.#largest[block]! >= floor)) continue;
      if (count + blockSize > found.length) found = doubled(found);
      const end = Math.min(logits.length, (block + 1) * blockSize);
      for (let token = block * blockSize; token < end; token++)
        if (logits[token]! >= floor) found[count++] = token;
    }
    return found.subarray(0, count);
  }

  /** A logit that at least `count` tokens reach, as so many blocks have one; few more do. */
  reachedBy(count: number): number {
    const blocks = this.#largest.length;
    return count > blocks ? -Infinity : this.#largest.slice().sort()[blocks - count]!;
  }

  /** A token's probability, relative to that of the likeliest: exp(logit - max), to within a part in a billion. */
  weight(token: number): number {
    return exponential(this.max - this.logits[token]!);
  }

  /**
   * The sum of all tokens' weights.
   * @param reach blocks whose tokens are all further below the largest logit count with bounds; default: as far as f64
   * sums notice
   */
  mass(reach = farthest): Bounds {
    const { logits, max } = this;
    let least = 0;
    let beyond = 0;
    for (let block = 0; block < this.#largest.length; block++) {
      const end = Math.min(logits.length, (block + 1) * blockSize);
      const below = max - this.#largest[block]!;
      if (below < reach)
        for (let token = block * blockSize; token < end; token++)
          least += exponential(max - logits[token]!);
      else beyond += blockSize * exponential(below);
    }
    return { least, most: least + beyond };
  }
}

/** Four at a time, as compilers of JavaScript do not unroll loops. */
function largestWithin(logits: Float32Array, first: number, end: number): number {
  let largest = -Infinity;
  let i = first;
  for (const last = Math.min(end, logits.length) - 3; i < last; i += 4) {
    const a = logits[i]!;
    const b = logits[i + 1]!;
    const c = logits[i + 2]!;
    const d = logits[i + 3]!;
    if (a > largest) largest = a;
    if (b > largest) largest = b;
    if (c > largest) largest = c;
    if (d > largest) largest = d;
  }
  for (; i < end && i < logits.length; i++) if (logits[i]! > largest) largest = logits[i]!;
  return largest;
}

function doubled(array: Int32Array): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(2 * array.length);
  larger.set(array);
  return larger;
}

/** exp(-x) counts as nothing beyond this: below 1e-17, the last bit of a sum that begins with 1. */
const farthest = 40;

/** Values per unit in the table of exponentials. */
const perUnit = 256;
const exponentials = Float64Array.from({ length: farthest * perUnit + 1 }, (_, i) =>
  Math.exp(-i / perUnit),
);

/** exp(-x), x >= 0, several times as fast as Math.exp: by the nearest value in the table and a few terms of the series. */
function exponential(x: number): number {
  if (!(x < farthest)) return 0;
  const nearest = (x * perUnit + 0.5) | 0;
  const rest = nearest / perUnit - x;
  return exponentials[nearest]! * (1 + rest * (1 + rest * (0.5 + rest / 6)));
}
