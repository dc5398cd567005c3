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
}

/**
 * Opens a model file, or all files of a split model (`…-00001-of-0000N.gguf`) given any of them. Reads headers and a
 * few samples; tensor data only as it is asked for.
 * @throws ModelError when a file is missing, no GGUF, truncated, damaged, or of an unsupported quantization.
 */
export async function openGguf(file: string): Promise<TensorSource> {
  const parts: Part[] = [];
  try {
    await openParts(file, parts);
    const model = new GgufModel(parts);
    model.fingerprint = await fingerprint(model);
    return model;
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
      throw new ModelError(`${name} does not fit the other parts of the model: download all again`);
  });
}

async function openPart(name: string): Promise<Part> {
  const file = await open(name);
  try {
    const header = await readHeader(file, name);
    const { size } = await file.stat();
    if (size < header.expectedBytes)
      throw new ModelError(
        `${name} is truncated: it has ${size} bytes, its tensors need ${header.expectedBytes}: download it again`,
      );
    return { path: name, file, header };
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
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw new ModelError(`no such model file: ${path.resolve(name)}`);
    throw new ModelError(`cannot read ${name}: ${code}`);
  }
  if ((await file.stat()).isDirectory()) {
    await file.close();
    throw new ModelError(`${name} is a folder: give a .gguf file`);
  }
  return file;
}

async function closeAll(parts: readonly Part[]): Promise<void> {
  for (const { file } of parts) await file.close();
}

class GgufModel implements TensorSource {
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  fingerprint = '';
  readonly #places = new Map<string, { part: Part; tensor: PlacedTensor }>();

  constructor(private readonly parts: readonly Part[]) {
    // Every part repeats the split keys; the model's own metadata is in the first.
    this.metadata = parts[0]?.header.metadata ?? new Map<string, MetadataValue>();
    for (const part of parts)
      for (const tensor of part.header.tensors) {
        if (this.#places.has(tensor.name))
          throw new ModelError(`${part.path} is damaged: tensor ${tensor.name} is there twice`);
        this.#places.set(tensor.name, { part, tensor });
      }
    this.tensors = new Map([...this.#places].map(([name, { tensor }]) => [name, tensor]));
  }

  async read(name: string, offset: number, into: Uint8Array): Promise<void> {
    const place = this.#places.get(name);
    if (!place) throw new ModelError(`the model has no tensor ${name}: the file is damaged`);
    const { part, tensor } = place;
    if (offset < 0 || offset + into.byteLength > tensor.bytes)
      throw new ModelError(`bytes ${offset} to ${offset + into.byteLength} are not in ${name}`);
    let read = 0;
    while (read < into.byteLength) {
      const { bytesRead } = await part.file.read(
        into,
        read,
        into.byteLength - read,
        tensor.offset + offset + read,
      );
      if (bytesRead === 0)
        throw new ModelError(
          `${part.path} ends within tensor ${name}: was it changed while in use?`,
        );
      read += bytesRead;
    }
  }

  close(): Promise<void> {
    return closeAll(this.parts);
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
