import type {
  AttentionOptions,
  GateKind,
  GraphBuilder,
} from '../../model/architectures/graph-builder.js';
import type { RopeParameters } from '../../model/architectures/rope.js';
import type { Routing, RoutingOptions } from '../../model/architectures/routing.js';

/** [n, width] f64, row-major. */
export interface Rows {
  readonly values: Float64Array;
  readonly width: number;
  /** 1 where it is not split. */
  readonly heads?: number;
}

/** Computes layers at once, for one text from its beginning, in f64 and as plainly as can be: what engines are held against. */
export class F64Graph implements GraphBuilder<Rows> {
  /** Of every layer with experts so far: those of each row, and by how much the last was preferred to the next. */
  readonly routings: { readonly chosen: readonly number[]; readonly margin: number }[][] = [];

  /** @param weights f32 values of a tensor by its name */
  constructor(
    private readonly weights: (name: string) => Float32Array,
    /** Name of the head's matrix. */
    private readonly headName: string,
  ) {}

  has(): boolean {
    return false;
  }

  rmsNorm(x: Rows, epsilon: number, weight = ''): Rows {
    const { values } = x;
    const scale = this.weights(weight);
    // Heads are normalised one by one.
    const size = scale.length;
    const normed = new Float64Array(values.length);
    for (let at = 0; at < values.length; at += size) {
      let squares = 0;
      for (let i = 0; i < size; i++) squares += values[at + i]! ** 2;
      const factor = 1 / Math.sqrt(squares / size + epsilon);
      for (let i = 0; i < size; i++) normed[at + i] = values[at + i]! * factor * scale[i]!;
    }
    return { ...x, values: normed };
  }

  linear(x: Rows, name: string): Rows {
    return multiply(x, this.weights(`${name}.weight`));
  }

  logits(x: Rows): Rows {
    return multiply(x, this.weights(this.headName));
  }

  splitHeads(x: Rows, heads: number): Rows {
    return { ...x, heads };
  }

  rope(x: Rows, rope: RopeParameters): Rows {
    if (rope.frequencyScale !== 1 || rope.yarnFactor !== 0) throw notHere();
    const { values, width, heads = 1 } = x;
    const half = rope.dimensions / 2;
    const rotated = values.slice();
    for (let head = 0; head < values.length; head += width / heads) {
      const position = Math.floor(head / width);
      for (let pair = 0; pair < half; pair++) {
        const [a, b] =
          rope.pairing === 'halves'
            ? [head + pair, head + pair + half]
            : [head + 2 * pair, head + 2 * pair + 1];
        const angle = position * rope.base ** (-pair / half);
        const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
        rotated[a] = values[a]! * cos - values[b]! * sin;
        rotated[b] = values[a]! * sin + values[b]! * cos;
      }
    }
    return { ...x, values: rotated };
  }

  attention(_layer: number, q: Rows, k: Rows, v: Rows, { scale }: AttentionOptions): Rows {
    const { heads = 1, width } = q;
    const { heads: kvHeads = 1 } = k;
    const headSize = width / heads;
    const attended = new Float64Array(q.values.length);
    for (let row = 0; row < rowCount(q); row++)
      for (let head = 0; head < heads; head++) {
        const shared = Math.floor((head * kvHeads) / heads) * headSize;
        const at = row * width + head * headSize;
        attend(q.values, k, v, { at, row, shared, headSize, scale }, attended);
      }
    return { values: attended, width };
  }

  gated(kind: GateKind, gate: Rows, up: Rows): Rows {
    if (kind !== 'silu') throw notHere();
    const values = gate.values.map((value, i) => (value / (1 + Math.exp(-value))) * up.values[i]!);
    return { ...gate, values };
  }

  add(a: Rows, b: Rows): Rows {
    return { values: a.values.map((value, i) => value + b.values[i]!), width: a.width };
  }

  route(logits: Rows, options: RoutingOptions): Routing<Rows> {
    const { gating, chosen, experts, normalise, groups, scale = 1 } = options;
    if (gating !== 'softmax' || !normalise || groups || scale !== 1) throw notHere();
    const rows = Array.from({ length: rowCount(logits) }, (_, row) => {
      const scores = logits.values.subarray(row * experts, (row + 1) * experts);
      const order = Array.from(scores.keys()).sort((a, b) => scores[b]! - scores[a]!);
      const margin = scores[order[chosen - 1]!]! - scores[order[chosen]!]!;
      // The softmax of all, made to have the sum 1, is that of the chosen.
      const powers = order.slice(0, chosen).map((expert) => Math.exp(scores[expert]!));
      const sum = powers.reduce((total, power) => total + power, 0);
      return {
        chosen: order.slice(0, chosen),
        margin,
        weights: powers.map((power) => power / sum),
      };
    });
    this.routings.push(rows);
    const values = (of: (row: (typeof rows)[number]) => readonly number[]) => ({
      values: Float64Array.from(rows.flatMap(of)),
      width: chosen,
    });
    return { options, ids: values((row) => row.chosen), weights: values((row) => row.weights) };
  }

  expertLinear(x: Rows, name: string, { ids, options }: Routing<Rows>, outputs: number): Rows {
    const { chosen, experts } = options;
    const matrices = this.weights(`${name}.weight`);
    const size = matrices.length / experts;
    const width = size / outputs;
    const product = new Float64Array(ids.values.length * outputs);
    for (const [place, expert] of ids.values.entries()) {
      // All experts of a row get the row, or each what the one before it made.
      const from = x.width === width ? Math.floor(place / chosen) : place;
      const row = { values: x.values.subarray(from * width, (from + 1) * width), width };
      const matrix = matrices.subarray(expert * size, (expert + 1) * size);
      product.set(multiply(row, matrix).values, place * outputs);
    }
    return { values: product, width: chosen * outputs, heads: chosen };
  }

  combine({ values, width, heads = 1 }: Rows, { weights }: Routing<Rows>): Rows {
    const size = width / heads;
    const sums = new Float64Array(values.length / heads);
    for (const [place, weight] of weights.values.entries())
      for (let i = 0; i < size; i++)
        sums[Math.floor(place / heads) * size + i]! += weight * values[place * size + i]!;
    return { values: sums, width: size };
  }

  readonly layerNorm = unwritten;
  readonly l2Norm = unwritten;
  readonly headLinear = unwritten;
  readonly joinHeads = unwritten;
  readonly slice = unwritten;
  readonly concat = unwritten;
  readonly latentAttention = unwritten;
  readonly repeatHeads = unwritten;
  readonly convolution = unwritten;
  readonly deltaRule = unwritten;
  readonly softplus = unwritten;
  readonly times = unwritten;
  readonly plus = unwritten;
  readonly gatedWithin = unwritten;
  readonly gatedClamped = unwritten;
  readonly silu = unwritten;
  readonly sigmoid = unwritten;
  readonly mul = unwritten;
  readonly scale = unwritten;
  readonly softcap = unwritten;
  readonly temper = unwritten;
}

/** One query: where it stands, its row, and where the keys and values of its head stand in theirs. */
interface Query {
  readonly at: number;
  readonly row: number;
  readonly shared: number;
  readonly headSize: number;
  readonly scale: number;
}

/** Attends from one head of one row to all rows up to it. */
function attend(
  q: Float64Array,
  k: Rows,
  v: Rows,
  { at, row, shared, headSize, scale }: Query,
  into: Float64Array,
): void {
  const scores = new Float64Array(row + 1);
  let highest = -Infinity;
  for (let other = 0; other <= row; other++) {
    const key = other * k.width + shared;
    let score = 0;
    for (let i = 0; i < headSize; i++) score += q[at + i]! * k.values[key + i]!;
    scores[other] = score * scale;
    highest = Math.max(highest, scores[other]!);
  }
  let sum = 0;
  for (let other = 0; other <= row; other++) {
    const weight = Math.exp(scores[other]! - highest);
    const value = other * v.width + shared;
    sum += weight;
    for (let i = 0; i < headSize; i++) into[at + i]! += weight * v.values[value + i]!;
  }
  for (let i = 0; i < headSize; i++) into[at + i]! /= sum;
}

/**
 * Every row times every row of a matrix.
 * @param matrix [outputs, x.width] f32, row-major
 */
export function multiply(x: Rows, matrix: Float32Array): Rows {
  const { values, width } = x;
  const outputs = matrix.length / width;
  const product = new Float64Array(rowCount(x) * outputs);
  const rows = rowCount(x);
  // Four outputs at a time: a value is read once for all of them.
  for (let output = 0; output < outputs; output += 4) {
    const a = output * width;
    const b = Math.min(output + 1, outputs - 1) * width;
    const c = Math.min(output + 2, outputs - 1) * width;
    const d = Math.min(output + 3, outputs - 1) * width;
    for (let row = 0; row < rows; row++) {
      let sumA = 0;
      let sumB = 0;
      let sumC = 0;
      let sumD = 0;
      const begin = row * width;
      for (let i = 0; i < width; i++) {
        const value = values[begin + i]!;
        sumA += value * matrix[a + i]!;
        sumB += value * matrix[b + i]!;
        sumC += value * matrix[c + i]!;
        sumD += value * matrix[d + i]!;
      }
      const at = row * outputs + output;
      product[at] = sumA;
      if (output + 1 < outputs) product[at + 1] = sumB;
      if (output + 2 < outputs) product[at + 2] = sumC;
      if (output + 3 < outputs) product[at + 3] = sumD;
    }
  }
  return { values: product, width: outputs };
}

export function rowCount({ values, width }: Rows): number {
  return values.length / width;
}

function notHere(): Error {
  return new Error('the demo model needs no such op');
}

function unwritten(): never {
  throw notHere();
}
