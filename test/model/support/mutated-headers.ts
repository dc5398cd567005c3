import fs from 'node:fs/promises';
import { openGguf } from '../../../model/gguf/reader.js';
import { writeGguf } from '../../../model/gguf/writer.js';
import { syntheticModel } from '../../../model/synthetic/synthetic-model.js';
import type { SyntheticShape } from '../../../model/synthetic/shape.js';
import type { MetadataValue } from '../../../model/tensor-source.js';
import { repositoryPath } from '../../support/golden.js';
import { Random } from '../../support/random.js';
import { tinyShape } from '../../support/tiny-model.js';

/** A model file that is in order. */
export interface SoundFile {
  readonly name: string;
  readonly header: Buffer;
  /** Of the whole file; what is behind the header may be anything. */
  readonly bytes: number;
}

/** A demo model, and smaller ones of every family, all with vocabularies. */
export async function soundFiles(folder: string): Promise<SoundFile[]> {
  return [
    await soundFile('demo', repositoryPath('models/demo.gguf')),
    await soundFile('llama', await write(folder, 'llama', false, sentencePieces())),
    await soundFile('qwen2', await write(folder, 'qwen2', true, bytePairs())),
    await soundFile('qwen3', await write(folder, 'qwen3', false, bytePairs())),
  ];
}

/**
 * Writes one of sound files with its header damaged: bits, bytes, numbers and lengths changed, or the file cut short.
 * @param seed the same for the same file and damage
 */
export async function writeDamaged(
  file: string,
  sounds: readonly SoundFile[],
  seed: number,
): Promise<void> {
  const random = new Random(seed);
  // The first is the largest.
  const index = seed % 8 === 0 ? 0 : 1 + (seed % (sounds.length - 1));
  const sound = sounds[index] as SoundFile;
  const header = Buffer.from(sound.header);
  for (let times = random.between(1, 3); times > 0; times--) damage(header, random);
  await fs.writeFile(file, header);
  await fs.truncate(file, random.share() < 0.1 ? random.between(0, sound.bytes) : sound.bytes);
}

const oddNumbers = [0n, 1n, 255n, 10n ** 6n, 2n ** 24n, 2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 63n];
const oddFloats = [0, -1, 1e-30, 1e30, NaN, Infinity];

function damage(header: Buffer, random: Random): void {
  const at = place(header, random);
  switch (random.between(0, 4)) {
    case 0:
      header[at] = (header[at] as number) ^ (1 << random.between(0, 7));
      return;
    case 1:
      for (let i = random.between(0, 7); i >= 0; i--) header[at + i] = random.between(0, 255);
      return;
    case 2:
      header.writeBigUInt64LE(oddNumbers[random.between(0, 8)] as bigint, at);
      return;
    case 3:
      header.writeUInt32LE(random.between(0, 40), at);
      return;
    case 4:
      header.writeFloatLE(oddFloats[random.between(0, 5)] as number, at);
  }
}

/** Most of a header may be vocabulary: the numbers before it and the tensors behind it are as likely. */
function place(header: Buffer, random: Random): number {
  const last = header.length - 8;
  const [from, to] = [
    [8, Math.min(1000, last)],
    [Math.max(8, last - 3000), last],
    [8, last],
  ][random.between(0, 2)] as [number, number];
  return random.between(from, to);
}

async function soundFile(name: string, file: string): Promise<SoundFile> {
  const bytes = await fs.readFile(file);
  const source = await openGguf(file);
  const dataBytes = [...source.tensors.values()].reduce(
    (sum, tensor) => sum + Math.ceil(tensor.bytes / 32) * 32,
    0,
  );
  await source.close();
  return { name, header: bytes.subarray(0, bytes.length - dataBytes), bytes: bytes.length };
}

type Vocabulary = readonly (readonly [string, MetadataValue])[];

async function write(
  folder: string,
  architecture: SyntheticShape['architecture'],
  tied: boolean,
  vocabulary: Vocabulary,
): Promise<string> {
  const model = syntheticModel({ ...tinyShape, architecture, tied, layers: 2 }, 'q8_0');
  const file = `${folder}/${architecture}.gguf`;
  const metadata = new Map([...model.metadata, ...vocabulary]);
  await writeGguf(file, metadata, [...model.tensors.values()], (...part) => model.read(...part));
  return file;
}

const tokenCount = tinyShape.vocabulary;

function sentencePieces(): Vocabulary {
  const bytes = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
  );
  const tokens = ['<unk>', '<s>', '</s>', ...bytes];
  while (tokens.length < tokenCount) tokens.push(`▁${tokens.length}`);
  return [
    ['tokenizer.ggml.model', 'llama'],
    ['tokenizer.ggml.tokens', tokens],
    ['tokenizer.ggml.scores', tokens.map((_, id) => -id - 0.5)],
    ['tokenizer.ggml.token_type', tokens.map((_, id) => (id < 3 ? 3 : id < 259 ? 6 : 1))],
    ['tokenizer.ggml.bos_token_id', 1],
    ['tokenizer.ggml.eos_token_id', 2],
  ];
}

function bytePairs(): Vocabulary {
  const tokens = ['<|end|>', ...'abcdefghijklmnopqrstuvwxyz', 'ab', 'cd'];
  while (tokens.length < tokenCount) tokens.push(`<|${tokens.length}|>`);
  return [
    ['tokenizer.ggml.model', 'gpt2'],
    ['tokenizer.ggml.pre', 'qwen2'],
    ['tokenizer.ggml.tokens', tokens],
    ['tokenizer.ggml.token_type', tokens.map((_, id) => (id > 0 && id < 29 ? 1 : 3))],
    ['tokenizer.ggml.merges', ['a b', 'c d']],
    ['tokenizer.ggml.eos_token_id', 0],
  ];
}
