import fs from 'node:fs/promises';
import { ModelError } from '../errors.js';
import type { MetadataValue, TensorInfo } from '../tensor-source.js';

const alignment = 32;
const chunkBytes = 4 << 20;

/** Value types of GGUF metadata that the writer uses. */
const valueType = { uint32: 4, int32: 5, float32: 6, bool: 7, string: 8, array: 9 } as const;

/**
 * Writes a GGUF v3 file, a chunk at a time. Numbers become u32 where they are whole and not negative, i32 where they
 * are whole, else f32.
 * @param read fills `into` with the tensor's bytes from `offset`
 * @throws ModelError when the file cannot be written
 */
export async function writeGguf(
  path: string,
  metadata: ReadonlyMap<string, MetadataValue>,
  tensors: readonly TensorInfo[],
  read: (name: string, offset: number, into: Uint8Array) => Promise<void>,
): Promise<void> {
  const file = await fs.open(path, 'w').catch((error: NodeJS.ErrnoException) => {
    throw new ModelError(`cannot write ${path}: ${error.code}`);
  });
  try {
    let position = await append(file, headerBytes(metadata, tensors), 0);
    for (const tensor of tensors) {
      position = aligned(position);
      for (let offset = 0; offset < tensor.bytes; offset += chunkBytes) {
        const chunk = Buffer.alloc(Math.min(chunkBytes, tensor.bytes - offset));
        await read(tensor.name, offset, chunk);
        position = await append(file, chunk, position);
      }
    }
  } finally {
    await file.close();
  }
}

async function append(file: fs.FileHandle, bytes: Buffer, position: number): Promise<number> {
  await file.write(bytes, 0, bytes.length, position);
  return position + bytes.length;
}

function aligned(position: number): number {
  return Math.ceil(position / alignment) * alignment;
}

function headerBytes(
  metadata: ReadonlyMap<string, MetadataValue>,
  tensors: readonly TensorInfo[],
): Buffer {
  const parts = [Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(metadata.size)];
  for (const [key, value] of metadata) parts.push(string(key), typed(value));
  let offset = 0;
  for (const { name, type, shape, bytes } of tensors) {
    parts.push(string(name), u32(shape.length), ...shape.map(u64), u32(type.id), u64(offset));
    offset = aligned(offset + bytes);
  }
  const header = Buffer.concat(parts);
  return Buffer.concat([header, Buffer.alloc(aligned(header.length) - header.length)]);
}

function typed(value: MetadataValue): Buffer {
  return Buffer.concat([u32(typeOf(value)), untyped(value)]);
}

function typeOf(value: MetadataValue): number {
  if (typeof value === 'string') return valueType.string;
  if (typeof value === 'boolean') return valueType.bool;
  if (Array.isArray(value)) return valueType.array;
  if (!Number.isInteger(value)) return valueType.float32;
  return Number(value) < 0 ? valueType.int32 : valueType.uint32;
}

function untyped(value: MetadataValue): Buffer {
  if (typeof value === 'string') return string(value);
  if (typeof value === 'boolean') return Buffer.from([value ? 1 : 0]);
  if (!Array.isArray(value)) return number(Number(value));
  const itemType = value.length > 0 ? typeOf(value[0] as MetadataValue) : valueType.uint32;
  return Buffer.concat([u32(itemType), u64(value.length), ...value.map(untyped)]);
}

function number(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  if (!Number.isInteger(value)) bytes.writeFloatLE(value);
  else if (value < 0) bytes.writeInt32LE(value);
  else bytes.writeUInt32LE(value);
  return bytes;
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
