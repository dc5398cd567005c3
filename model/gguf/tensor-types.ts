import { ModelError } from '../errors.js';

/** How the values of a tensor are stored: blocks of `blockSize` values in `blockBytes` bytes. */
export interface TensorType {
  /** Value of enum ggml_type, as in GGUF files. */
  readonly id: number;
  readonly name: string;
  readonly blockSize: number;
  readonly blockBytes: number;
}

/** id, name, values per block, bytes per block (ggml.h, ggml-common.h). */
const table: readonly (readonly [number, string, number, number])[] = [
  [0, 'f32', 1, 4],
  [1, 'f16', 1, 2],
  [2, 'q4_0', 32, 18],
  [3, 'q4_1', 32, 20],
  [6, 'q5_0', 32, 22],
  [7, 'q5_1', 32, 24],
  [8, 'q8_0', 32, 34],
  [9, 'q8_1', 32, 36],
  [10, 'q2_K', 256, 84],
  [11, 'q3_K', 256, 110],
  [12, 'q4_K', 256, 144],
  [13, 'q5_K', 256, 176],
  [14, 'q6_K', 256, 210],
  [15, 'q8_K', 256, 292],
  [16, 'iq2_xxs', 256, 66],
  [17, 'iq2_xs', 256, 74],
  [18, 'iq3_xxs', 256, 98],
  [19, 'iq1_s', 256, 50],
  [20, 'iq4_nl', 32, 18],
  [21, 'iq3_s', 256, 110],
  [22, 'iq2_s', 256, 82],
  [23, 'iq4_xs', 256, 136],
  [24, 'i8', 1, 1],
  [25, 'i16', 1, 2],
  [26, 'i32', 1, 4],
  [27, 'i64', 1, 8],
  [28, 'f64', 1, 8],
  [29, 'iq1_m', 256, 56],
  [30, 'bf16', 1, 2],
  [34, 'tq1_0', 256, 54],
  [35, 'tq2_0', 256, 66],
  [39, 'mxfp4', 32, 17],
  [40, 'nvfp4', 64, 36],
  [41, 'q1_0', 128, 18],
  [42, 'q2_0', 64, 18],
];

/** Every tensor type that ggml knows, by id. */
export const tensorTypes: ReadonlyMap<number, TensorType> = new Map(
  table.map(([id, name, blockSize, blockBytes]) => [id, { id, name, blockSize, blockBytes }]),
);

/** Types of whole numbers, of intermediate results, and f64: ggml has neither a product nor a table look-up for them. */
const otherThanWeights: ReadonlySet<string> = new Set('q8_1 q8_K i8 i16 i32 i64 f64'.split(' '));

/** Whether matrices can be of this type. */
export function canMultiply({ name }: TensorType): boolean {
  return !otherThanWeights.has(name);
}

/** Types that ggml had once, and that old files still have. */
const removedTypes: ReadonlyMap<number, string> = new Map([
  [4, 'q4_2'],
  [5, 'q4_3'],
  [31, 'q4_0_4_4'],
  [32, 'q4_0_4_8'],
  [33, 'q4_0_8_8'],
  [36, 'iq4_nl_4_4'],
  [37, 'iq4_nl_4_8'],
  [38, 'iq4_nl_8_8'],
]);

/** @throws ModelError that names the tensor when ggml does not know its type */
export function tensorTypeOf(tensor: string, id: number): TensorType {
  const type = tensorTypes.get(id);
  if (type) return type;
  const name = removedTypes.get(id);
  throw new ModelError(
    'unsupported',
    `unsupported quantization: tensor ${tensor} has type ${id}, which ggml ${name ? `knew as ${name} and dropped` : 'does not know'}: use another quantization of the model`,
  );
}

/** @throws ModelError for a name that ggml does not know. */
export function tensorTypeNamed(name: string): TensorType {
  for (const type of tensorTypes.values()) if (type.name === name) return type;
  throw new ModelError(
    'unsupported',
    `unknown tensor type "${name}": known are ${table.map((row) => row[1]).join(', ')}`,
  );
}

/** Bytes of a tensor whose rows (first dimension) are whole blocks. */
export function tensorBytes(type: TensorType, shape: readonly number[]): number {
  return (shape.reduce((product, size) => product * size, 1) / type.blockSize) * type.blockBytes;
}
