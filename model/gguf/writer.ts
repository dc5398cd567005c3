import fs from 'node:fs/promises';
import { ModelError } from '../errors.js';
import type { MetadataValue, TensorInfo } from '../tensor-source.js';

const alignment = 32;
const chunkBytes = 4 << 20;

/** Value types of GGUF metadata that the writer uses. */
const valueType = {
  uint16: 2,
  uint32: 4,
  int32: 5,
  float32: 6,
  bool: 7,
  string: 8,
  array: 9,
  uint64: 10,
  int64: 11,
} as const;

/** Readers such as llama.cpp insist on these types, which the values alone do not show. */
const typesOfKeys: readonly (readonly [RegExp, number])[] = [
  [
    /(epsilon|freq_base(_swa)?|factor|scale(_linear)?|multiplier|beta_(fast|slow)|softcapping|bias|clamp_kqv|clamp_(sh)?exp|scores)$/,
    valueType.float32,
  ],
  [/^split\.(no|count)$/, valueType.uint16],
  [/^(split\.tensors\.count|tokenizer\.ggml\.token_type)$/, valueType.int32],
];

/**
 * Writes a GGUF v3 file, a chunk at a time. Numbers become u32 where they are whole, u64, i32 or i64 where they do not
 * fit, else f32; keys that llama.cpp wants in another type get that.
 * @param read fills `into` with the tensor's bytes from `offset`
 * @throws ModelError when the file cannot be written, or metadata cannot be stored
 */
export async function writeGguf(
  path: string,
  metadata: ReadonlyMap<string, MetadataValue>,
  tensors: readonly TensorInfo[],
  read: (name: string, offset: number, into: Uint8Array) => Promise<void>,
): Promise<void> {
  const header = headerBytes(metadata, tensors);
  const file = await writing(path, () => fs.open(path, 'w'));
  try {
    await writing(path, () => file.writeFile(header));
    for (const tensor of tensors) {
      for (let offset = 0; offset < tensor.bytes; offset += chunkBytes) {
        const chunk = Buffer.alloc(Math.min(chunkBytes, tensor.bytes - offset));
        await read(tensor.name, offset, chunk);
        await writing(path, () => file.writeFile(chunk));
      }
      const padding = Buffer.alloc(aligned(tensor.bytes) - tensor.bytes);
      await writing(path, () => file.writeFile(padding));
    }
  } finally {
    await file.close();
  }
}

async function writing<Result>(path: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new ModelError(
      'file',
      `cannot write ${path}: ${code === 'ENOSPC' ? 'the disk is full: free some space' : code}`,
      { cause: error },
    );
  }
}

function aligned(position: number): number {
  return Math.ceil(position / alignment) * alignment;
}

function headerBytes(
  metadata: ReadonlyMap<string, MetadataValue>,
  tensors: readonly TensorInfo[],
): Buffer {
  const parts = [Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(metadata.size)];
  for (const [key, value] of metadata) parts.push(string(key), typed(key, value));
  let offset = 0;
  for (const { name, type, shape, bytes } of tensors) {
    parts.push(string(name), u32(shape.length), ...shape.map(u64), u32(type.id), u64(offset));
    offset = aligned(offset + bytes);
  }
  const header = Buffer.concat(parts);
  return Buffer.concat([header, Buffer.alloc(aligned(header.length) - header.length)]);
}

function typed(key: string, value: MetadataValue): Buffer {
  if (!Array.isArray(value)) {
    const type = typeOf(key, [value]);
    return Buffer.concat([u32(type), untyped(value, type)]);
  }
  const type = typeOf(key, value);
  const items = value.map((item) => untyped(item, type));
  return Buffer.concat([u32(valueType.array), u32(type), u64(value.length), ...items]);
}

/** One type that holds all values of a key. */
function typeOf(key: string, values: readonly MetadataValue[]): number {
  if (values.every((value) => typeof value === 'string')) return valueType.string;
  if (values.every((value) => typeof value === 'boolean')) return valueType.bool;
  if (!values.every((value) => typeof value === 'number' || typeof value === 'bigint'))
    throw new ModelError(
      'unsupported',
      `metadata "${key}" mixes types: GGUF arrays hold values of one type`,
    );
  const known = typesOfKeys.find(([pattern]) => pattern.test(key));
  if (known) return known[1];
  let [least, most] = [0, 0];
  for (const value of values) {
    if (typeof value === 'number' && !Number.isInteger(value)) return valueType.float32;
    least = Math.min(least, Number(value));
    most = Math.max(most, Number(value));
  }
  if (least >= 0) return most < 2 ** 32 ? valueType.uint32 : valueType.uint64;
  return least >= -(2 ** 31) && most < 2 ** 31 ? valueType.int32 : valueType.int64;
}

function untyped(value: MetadataValue, type: number): Buffer {
  if (type === valueType.string) return string(value as string);
  if (type === valueType.bool) return Buffer.from([value ? 1 : 0]);
  const bytes = Buffer.alloc(8);
  if (type === valueType.uint64 || type === valueType.int64) {
    bytes.writeBigInt64LE(BigInt.asIntN(64, BigInt(value as number | bigint)));
    return bytes;
  }
  const number = Number(value);
  if (type === valueType.float32) return bytes.subarray(0, bytes.writeFloatLE(number));
  if (type === valueType.uint16) return bytes.subarray(0, bytes.writeUInt16LE(number));
  if (type === valueType.int32) return bytes.subarray(0, bytes.writeInt32LE(number));
  return bytes.subarray(0, bytes.writeUInt32LE(number));
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function string(value: string): Buffer {
  const bytes = Buffer.from(value, 'utf8');
  return Buffer.concat([u64(bytes.length), bytes]);
}
