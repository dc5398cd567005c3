import type { FileHandle } from 'node:fs/promises';
import { ModelError, quoted } from '../errors.js';
import type { MetadataValue, TensorInfo } from '../tensor-source.js';
import { metadataNumberOr } from './metadata.js';
import { tensorBytes, tensorTypeOf } from './tensor-types.js';

/** Where a tensor's data begins within its file. */
export interface PlacedTensor extends TensorInfo {
  readonly offset: number;
}

/** Everything in a GGUF file before the tensor data. */
export interface GgufHeader {
  readonly metadata: Map<string, MetadataValue>;
  readonly tensors: readonly PlacedTensor[];
  /** Bytes that the file must have for all its tensors. */
  readonly expectedBytes: number;
}

/** Bounds on what a sane file holds. What it claims to hold must fit in its size as well, before anything is allocated. */
const maxStringBytes = 64 << 20;
const maxArrayLength = 1 << 24;
const maxEntries = 1 << 20;
const maxAlignment = 1 << 20;
const readAhead = 1 << 20;

/** Value types of GGUF metadata. */
const enum ValueType {
  uint8,
  int8,
  uint16,
  int16,
  uint32,
  int32,
  float32,
  bool,
  string,
  array,
  uint64,
  int64,
  float64,
}

/** Fewest bytes that a value takes, by its type. */
const leastBytes = [1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8];

/**
 * Reads metadata and tensor table (GGUF versions 2 and 3, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
 * @throws ModelError when the file is no GGUF, is cut short or is damaged.
 */
export async function readHeader(
  file: FileHandle,
  path: string,
  fileBytes: number,
): Promise<GgufHeader> {
  const reader = new HeaderReader(file, path, fileBytes);
  await reader.magicAndVersion();
  const tensorCount = await reader.count('tensors', maxEntries);
  const metadataCount = await reader.count('metadata entries', maxEntries);
  const metadata = new Map<string, MetadataValue>();
  for (let i = 0; i < metadataCount; i++) {
    const key = await reader.string();
    if (metadata.has(key)) throw reader.damaged(`the metadata ${quoted(key)} twice`);
    metadata.set(key, await reader.value(await reader.u32()));
  }
  const table: PlacedTensor[] = [];
  for (let i = 0; i < tensorCount; i++) table.push(await reader.tensor());
  return placeData(metadata, table, reader);
}

/** The data of tensors follows the header in the order of the table, each at a multiple of the alignment. */
function placeData(
  metadata: Map<string, MetadataValue>,
  table: readonly PlacedTensor[],
  reader: HeaderReader,
): GgufHeader {
  const alignment = metadataNumberOr(metadata, 'general.alignment', 32);
  if (!(alignment > 0 && alignment <= maxAlignment && alignment % 8 === 0))
    throw reader.damaged(`data with an alignment of ${alignment}`);
  const aligned = (position: number) => Math.ceil(position / alignment) * alignment;
  const dataStart = aligned(reader.position);
  let end = dataStart;
  const tensors = table.map((tensor) => {
    const offset = dataStart + tensor.offset;
    if (offset !== aligned(end))
      throw reader.damaged(`tensor ${tensor.name} elsewhere than behind the one before`);
    end = offset + tensor.bytes;
    return { ...tensor, offset };
  });
  return { metadata, tensors, expectedBytes: tensors.length > 0 ? end : reader.position };
}

/** Reads forward through a file with one buffer. */
class HeaderReader {
  #buffer = Buffer.alloc(0);
  #bufferStart = 0;
  position = 0;

  constructor(
    private readonly file: FileHandle,
    private readonly path: string,
    private readonly fileBytes: number,
  ) {}

  async magicAndVersion(): Promise<void> {
    const magic = await this.#take(4).catch(() => Buffer.alloc(0));
    if (magic.toString('latin1') !== 'GGUF')
      throw new ModelError(
        'unsupported',
        `${this.path} is not a GGUF file: it begins with "${magic.toString('latin1').replace(/[^ -~]/g, '.')}"`,
      );
    const version = await this.u32();
    if (version < 2 || version > 3)
      throw new ModelError(
        'unsupported',
        version > 0xffff
          ? `${this.path} is a big-endian GGUF file: convert it to little-endian`
          : `${this.path} is GGUF version ${version}: versions 2 and 3 are supported`,
      );
  }

  async count(what: string, most: number): Promise<number> {
    const count = await this.u64();
    if (count > most) throw this.damaged(`${count} ${what}`);
    return Number(count);
  }

  async u32(): Promise<number> {
    return (await this.#take(4)).readUInt32LE();
  }

  async u64(): Promise<bigint> {
    return (await this.#take(8)).readBigUInt64LE();
  }

  async string(): Promise<string> {
    const bytes = await this.u64();
    if (bytes > maxStringBytes) throw this.damaged(`a string of ${bytes} bytes`);
    return (await this.#take(Number(bytes))).toString('utf8');
  }

  async value(type: number): Promise<MetadataValue> {
    switch (type as ValueType) {
      case ValueType.uint8:
        return (await this.#take(1)).readUInt8();
      case ValueType.int8:
        return (await this.#take(1)).readInt8();
      case ValueType.uint16:
        return (await this.#take(2)).readUInt16LE();
      case ValueType.int16:
        return (await this.#take(2)).readInt16LE();
      case ValueType.uint32:
        return this.u32();
      case ValueType.int32:
        return (await this.#take(4)).readInt32LE();
      case ValueType.float32:
        return (await this.#take(4)).readFloatLE();
      case ValueType.bool:
        return (await this.#take(1)).readUInt8() !== 0;
      case ValueType.string:
        return this.string();
      case ValueType.array:
        return this.#array();
      case ValueType.uint64:
        return safe(await this.u64());
      case ValueType.int64:
        return safe((await this.#take(8)).readBigInt64LE());
      case ValueType.float64:
        return (await this.#take(8)).readDoubleLE();
      default:
        throw this.damaged(`a metadata value of type ${type}`);
    }
  }

  async tensor(): Promise<PlacedTensor> {
    const name = await this.string();
    // Names end up in messages: one that is garbage must not garble the terminal.
    if (!/^\P{Cc}{1,128}$/u.test(name)) throw this.damaged('a tensor without a readable name');
    const dimensions = await this.u32();
    if (dimensions > 4) throw this.damaged(`tensor ${name} of ${dimensions} dimensions`);
    const shape: number[] = [];
    for (let i = 0; i < dimensions; i++) shape.push(Number(await this.u64()));
    const type = tensorTypeOf(name, await this.u32());
    const offset = Number(await this.u64());
    const bytes = tensorBytes(type, shape);
    if ((shape[0] ?? 1) % type.blockSize !== 0 || !Number.isSafeInteger(bytes + offset))
      throw this.damaged(`tensor ${name} of shape ${shape.join(' × ')}`);
    return { name, type, shape, bytes, offset };
  }

  async #array(): Promise<MetadataValue[]> {
    const type = await this.u32();
    const length = await this.count('array items', maxArrayLength);
    if ((type as ValueType) === ValueType.array) throw this.damaged('an array of arrays');
    this.#demand(length * (leastBytes[type] ?? 1));
    const items: MetadataValue[] = [];
    for (let i = 0; i < length; i++) items.push(await this.value(type));
    return items;
  }

  async #take(bytes: number): Promise<Buffer> {
    this.#demand(bytes);
    if (this.position + bytes > this.#bufferStart + this.#buffer.length) await this.#fill(bytes);
    const start = this.position - this.#bufferStart;
    this.position += bytes;
    return this.#buffer.subarray(start, start + bytes);
  }

  /** Reads at least so many bytes from the position on. */
  async #fill(bytes: number): Promise<void> {
    const room = Math.min(Math.max(bytes, readAhead), this.fileBytes - this.position);
    const buffer = Buffer.allocUnsafe(room);
    const { bytesRead } = await this.file.read(buffer, 0, room, this.position);
    // The file has become shorter, or is one that has no size.
    if (bytesRead < bytes) throw this.damaged('more than can be read');
    this.#buffer = buffer.subarray(0, bytesRead);
    this.#bufferStart = this.position;
  }

  damaged(what: string): ModelError {
    return new ModelError(
      'damaged',
      `${this.path} is damaged: it claims to hold ${what}: download it again`,
    );
  }

  #demand(bytes: number): void {
    if (bytes > this.fileBytes - this.position)
      throw new ModelError(
        'damaged',
        `${this.path} is truncated within its header: download it again`,
      );
  }
}

function safe(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
