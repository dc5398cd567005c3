import { createHash } from 'node:crypto';
import fs, { type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { ModelError } from '../errors.js';
import type { MetadataValue, TensorInfo, TensorSource } from '../tensor-source.js';
import { readHeader, type GgufHeader, type PlacedTensor } from './header.js';
import { metadataNumberOr } from './metadata.js';
import { partNames } from './parts.js';

/** Bytes of each tensor that take part in the fingerprint, at its beginning, middle and end. */
const sampleBytes = 256;

interface Part {
  readonly path: string;
  readonly file: FileHandle;
  readonly header: GgufHeader;
  /** What tells this state of the file from earlier and later ones. */
  readonly state: string;
}

/**
 * Opens a model file, or all files of a split model (`…-00001-of-0000N.gguf`) given any of them. Reads headers and a
 * few samples; tensor data only as it is asked for. Whether the model makes sense is for `checkModel` to say.
 * @throws ModelError when a file is missing, no GGUF, truncated, damaged, or of an unsupported quantization
 */
export async function openGguf(file: string): Promise<TensorSource> {
  const parts: Part[] = [];
  try {
    await openParts(file, parts);
    return await GgufModel.of(parts);
  } catch (error) {
    await closeAll(parts);
    throw error;
  }
}

/** Opens the file and, when its metadata says that it is split, its other parts. */
async function openParts(file: string, parts: Part[]): Promise<void> {
  const given = await openPart(file);
  parts.push(given);
  const count = metadataNumberOr(given.header.metadata, 'split.count', 1);
  if (count <= 1) return;
  const names = partNames(file, count);
  for (const name of names) if (name !== file) parts.push(await openPart(name));
  parts.sort((a, b) => names.indexOf(a.path) - names.indexOf(b.path));
  checkParts(parts);
}

/** Parts of different models, or in each other's place, would give a model that computes nonsense. */
function checkParts(parts: readonly Part[]): void {
  const tensors = parts.reduce((sum, { header }) => sum + header.tensors.length, 0);
  parts.forEach(({ path: name, header: { metadata } }, index) => {
    const fits =
      metadata.get('split.no') === index &&
      metadata.get('split.count') === parts.length &&
      metadataNumberOr(metadata, 'split.tensors.count', tensors) === tensors;
    if (!fits)
      throw new ModelError(
        'damaged',
        `${name} does not fit the other parts of the model: download all again`,
      );
  });
}

async function openPart(name: string): Promise<Part> {
  const file = await open(name);
  try {
    const { size, mtimeNs } = await file.stat({ bigint: true });
    const header = await readHeader(file, name, Number(size));
    if (size < header.expectedBytes)
      throw new ModelError(
        'damaged',
        `${name} is truncated: it has ${size} bytes, its tensors need ${header.expectedBytes}: download it again`,
      );
    return { path: name, file, header, state: `${size} bytes of ${mtimeNs}` };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function open(name: string): Promise<FileHandle> {
  let file: FileHandle;
  try {
    file = await fs.open(name, 'r');
  } catch (error) {
    throw unreadable(name, error);
  }
  if ((await file.stat()).isDirectory()) {
    await file.close();
    throw new ModelError('file', `${name} is a folder: give a .gguf file`);
  }
  return file;
}

function unreadable(name: string, cause: unknown): ModelError {
  const { code } = cause as NodeJS.ErrnoException;
  const message =
    code === 'ENOENT'
      ? `no such model file: ${path.resolve(name)}`
      : `cannot read ${name}: ${code}`;
  return new ModelError('file', message, { cause });
}

async function closeAll(parts: readonly Part[]): Promise<void> {
  await Promise.all(parts.map(({ file }) => file.close()));
}

class GgufModel implements TensorSource {
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  fingerprint = '';
  contentKey = '';
  readonly #places = new Map<string, { part: Part; tensor: PlacedTensor }>();
  #closed: Promise<void> | undefined;

  private constructor(private readonly parts: readonly Part[]) {
    // Every part repeats the split keys; the model's own metadata is in the first.
    this.metadata = parts[0]?.header.metadata ?? new Map<string, MetadataValue>();
    for (const part of parts)
      for (const tensor of part.header.tensors) {
        if (this.#places.has(tensor.name))
          throw new ModelError(
            'damaged',
            `${part.path} is damaged: tensor ${tensor.name} is there twice`,
          );
        this.#places.set(tensor.name, { part, tensor });
      }
    this.tensors = new Map([...this.#places].map(([name, { tensor }]) => [name, tensor]));
  }

  static async of(parts: readonly Part[]): Promise<GgufModel> {
    const model = new GgufModel(parts);
    model.fingerprint = await fingerprint(model);
    const states = parts.map(({ state }) => state);
    model.contentKey = createHash('sha256')
      .update([model.fingerprint, ...states].join())
      .digest('hex');
    return model;
  }

  async read(name: string, offset: number, into: Uint8Array): Promise<void> {
    const place = this.#places.get(name);
    if (!place)
      throw new ModelError('damaged', `the model has no tensor ${name}: the file is damaged`);
    const { part, tensor } = place;
    if (!(offset >= 0 && offset + into.byteLength <= tensor.bytes))
      throw new ModelError(
        'damaged',
        `bytes ${offset} to ${offset + into.byteLength} are not in ${name}`,
      );
    let read = 0;
    while (read < into.byteLength) {
      const bytes = await this.#readSome(part, tensor.offset + offset + read, into.subarray(read));
      if (bytes === 0)
        throw new ModelError(
          'damaged',
          `${part.path} ends within tensor ${name}: was it changed while in use?`,
        );
      read += bytes;
    }
  }

  close(): Promise<void> {
    return (this.#closed ??= closeAll(this.parts));
  }

  async #readSome(part: Part, position: number, into: Uint8Array): Promise<number> {
    if (this.#closed) throw new ModelError('closed', `${part.path} is closed: open it again`);
    try {
      return (await part.file.read(into, 0, into.byteLength, position)).bytesRead;
    } catch (error) {
      throw unreadable(part.path, error);
    }
  }
}

/** Depends on metadata, tensor table and samples of the data, but not on where the files are or how they are split. */
async function fingerprint(model: TensorSource): Promise<string> {
  const hash = createHash('sha256');
  for (const [key, value] of model.metadata)
    if (!key.startsWith('split.'))
      hash.update(
        JSON.stringify([key, value], (_, v: unknown) => (typeof v === 'bigint' ? `${v}` : v)),
      );
  const sample = new Uint8Array(sampleBytes);
  for (const { name, type, shape, bytes } of model.tensors.values()) {
    hash.update(JSON.stringify([name, type.id, shape]));
    const length = Math.min(sampleBytes, bytes);
    for (const offset of [0, Math.floor((bytes - length) / 2), bytes - length]) {
      await model.read(name, offset, sample.subarray(0, length));
      hash.update(sample.subarray(0, length));
    }
  }
  return hash.digest('hex');
}
