import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { textStep } from '../../../bench/text-step.js';
import { openOnnxEngine } from '../../../engine/onnx/onnx-engine.js';
import { decoderOf } from '../../../engine/onnx/weights/decode.js';
import { exactTypes, formatOf } from '../../../engine/onnx/weights/layout.js';
import { MatrixCache } from '../../../engine/onnx/weights/matrix-cache.js';
import { packRows, type PackedRows } from '../../../engine/onnx/weights/pack.js';
import { openGguf } from '../../../model/gguf/reader.js';
import { tensorBytes, tensorTypeNamed, type TensorType } from '../../../model/gguf/tensor-types.js';
import { openDequantizer } from '../../../model/native/dequantizer.js';
import type { TensorInfo } from '../../../model/tensor-source.js';
import { openTestEngine } from '../../support/engines.js';
import { repositoryPath } from '../../support/golden.js';
import { wholeModelLogits } from '../../support/logits.js';
import { Random } from '../../support/random.js';
import { relativeError } from '../../support/relative-error.js';
import { tinyModel } from '../../support/tiny-model.js';

const rows = 6;
const columns = 256;

/** Random blocks whose halves are ordinary numbers. */
function randomBlocks(type: TensorType, count: number, seed = 1): Uint8Array {
  const random = new Random(seed);
  const bytes = Uint8Array.from({ length: tensorBytes(type, [count]) }, () =>
    random.between(0, 255),
  );
  if (type.name === 'f32') {
    const values = Float32Array.from({ length: count }, () => random.share() - 0.5);
    return new Uint8Array(values.buffer);
  }
  const halvesPerBlock = { q4_0: 1, q4_1: 2, q8_0: 1, f16: 1, bf16: 1 }[type.name] ?? 0;
  for (let at = 0; at < bytes.length; at += type.blockBytes)
    for (let i = 0; i < halvesPerBlock; i++)
      // Exponents that are neither tiny nor infinite, in f16 and in bf16.
      bytes[at + 2 * i + 1] = ((bytes[at + 2 * i + 1] as number) & 0x83) | 0x34;
  return bytes;
}

/** What ONNX Runtime's op makes of packed rows (its documentation's formula). */
function unpack(type: TensorType, { values, scales, offsets }: PackedRows): Float32Array {
  const { bits } = formatOf(type.name);
  if (bits === 32) return new Float32Array(values.buffer);
  return Float32Array.from({ length: rows * columns }, (_, i) => {
    const byte = values[bits === 4 ? i >> 1 : i] as number;
    const stored = bits === 8 ? byte : i % 2 === 0 ? byte & 15 : byte >> 4;
    const block = Math.floor(i / 32);
    return (stored - 2 ** (bits - 1)) * (scales[block] as number) + (offsets[block] ?? 0);
  });
}

describe.each(exactTypes)('%s', (name) => {
  const type = tensorTypeNamed(name);
  const bytes = randomBlocks(type, rows * columns);

  test('is decoded as ggml does', () => {
    // ggml has no function for what is f32 already.
    if (name === 'f32') return;
    const ours = new Float32Array(rows * columns);
    const theirs = new Float32Array(rows * columns);
    decoderOf(type)(bytes, ours);
    openDequantizer(type)(bytes, theirs);
    expect(relativeError(ours, theirs)).toBeLessThan(1e-7);
  });

  test('is packed without loss', () => {
    const decoded = new Float32Array(rows * columns);
    decoderOf(type)(bytes, decoded);
    const packed = unpack(type, packRows(type, bytes, rows, columns));
    expect(relativeError(packed, decoded)).toBeLessThan(1e-7);
  });

  test('gives the logits of the ggml engine', async () => {
    const source = sourceOfType(type);
    const text = Array.from({ length: 24 }, (_, i) => (i * 37 + 11) % 300);
    const ours = await wholeModelLogits(openTestEngine('onnx'), source, text);
    const theirs = await wholeModelLogits(openTestEngine('ggml'), source, text);
    expect(relativeError(ours, theirs)).toBeLessThan(formatOf(name).bits < 32 ? 0.04 : 0.01);
  });
});

test.each(exactTypes)('%s: a step of which nothing is wanted leaves its keys', async (name) => {
  const stage = await openTestEngine('onnx').load({
    source: sourceOfType(tensorTypeNamed(name)),
    shard: { firstLayer: 0, endLayer: 3, embedding: true, head: true },
    cells: 64,
    kvType: 'f16',
    maxStepRows: 16,
  });
  const none = new Float32Array(0);
  const text = Array.from({ length: 12 }, (_, i) => (i * 37 + 11) % 300);
  const cells = { start: 0, length: 64 };
  const whole = await stage.logits(textStep(text, { cells, choices: 'last' }), none);
  const silent = textStep(text, { count: 11, cells, choices: 'none' });
  expect(await stage.forward(silent, none, none)).toMatchObject([{ choices: new Int32Array(0) }]);
  const rest = await stage.logits(textStep(text, { first: 11, cells }), none);
  expect(relativeError(rest, whole)).toBeLessThan(1e-4);
  stage.dispose();
});

/** A tiny model whose matrices are random blocks of a type. */
function sourceOfType(type: TensorType) {
  const plain = tinyModel('f32');
  const tensors = [...plain.tensors.values()]
    .filter(({ shape }) => shape.length === 2)
    .map((tensor): [string, TensorInfo] => [
      tensor.name,
      { ...tensor, type, bytes: tensorBytes(type, tensor.shape) },
    ]);
  return tinyModel('f32', {
    tensors,
    read: ({ name, shape }) =>
      randomBlocks(type, (shape[0] ?? 1) * (shape[1] ?? 1), name.length + shape.length),
  });
}

describe('other types', () => {
  test('are refused with the tensor and the remedy', async () => {
    const source = await openGguf(repositoryPath('models/demo-q4_0.gguf'));
    const engine = openOnnxEngine({ provider: 'cpu', cacheDirectory: os.tmpdir(), threads: 1 });
    const shard = { firstLayer: 13, endLayer: 16, embedding: false, head: true };
    await expect(
      engine.load({ source, shard, cells: 64, kvType: 'f16', maxStepRows: 8 }),
    ).rejects.toThrow(/tensor token_embd.weight is q6_K: use --requantize .*, --engine ggml/);
    await source.close();
  });

  test('become 8 bits when that is allowed', async () => {
    const source = await openGguf(repositoryPath('models/demo-q4_0.gguf'));
    const { type, bytes, name } = source.tensors.get('token_embd.weight') as TensorInfo;
    expect(type.name).toBe('q6_K');
    const stored = new Uint8Array((rows * bytes) / 2048);
    await source.read(name, 0, stored);
    const exact = new Float32Array(rows * columns);
    openDequantizer(type)(stored, exact);
    const packed = unpack(type, packRows(type, stored, rows, columns));
    expect(relativeError(packed, exact)).toBeLessThan(0.01);
    await source.close();
  });
});

describe('the cache of packed matrices', () => {
  let folder: string;
  beforeAll(async () => void (folder = await fs.mkdtemp(path.join(os.tmpdir(), 'daisychain-'))));
  afterAll(() => fs.rm(folder, { recursive: true }));

  const source = tinyModel('q4_0');
  const tensors = [...source.tensors.values()].filter(({ shape }) => shape.length === 2);
  const total = tensors.reduce((sum, { bytes }) => sum + bytes, 0);

  /** Has a cache provide all matrices. @returns bytes that it read, and bytes that it reported */
  async function provide(
    cache = newCache(),
    signal?: AbortSignal,
  ): Promise<{ read: number; reported: number }> {
    let read = 0;
    let reported = 0;
    const counting = {
      ...source,
      read: (name: string, offset: number, into: Uint8Array) => {
        read += into.byteLength;
        return source.read(name, offset, into);
      },
    };
    await cache.provide(counting, tensors, (bytes) => (reported += bytes), signal);
    return { read, reported };
  }

  const warnings: string[] = [];

  /** A cache as another process would have it. */
  function newCache(): MatrixCache {
    return new MatrixCache(folder, { threads: 2, warn: (message) => warnings.push(message) });
  }

  const files = async () => {
    const names = await fs.readdir(path.join(folder, 'onnx'));
    return names.map((name) => path.join(folder, 'onnx', name));
  };

  test('packs once, and reports progress either way', async () => {
    expect(await provide()).toEqual({ read: total, reported: total });
    expect(await provide()).toEqual({ read: 0, reported: total });
  });

  test('packs anew what is too short, and leaves nothing half done', async () => {
    const [file = ''] = await files();
    expect(await files()).toHaveLength(tensors.length);
    await fs.truncate(file, 100);
    const { read, reported } = await provide();
    expect(read).toBeGreaterThan(0);
    expect(read).toBeLessThan(total);
    expect(reported).toBe(total);
    expect(await files()).toHaveLength(tensors.length);
  });

  test('packs anew what was changed without a trace, and says so', async () => {
    const [file = ''] = await files();
    const sound = await fs.readFile(file);
    const damaged = Buffer.from(sound);
    for (let i = 100; i < 300; i++) damaged[i] = (damaged[i] as number) ^ 0xff;
    const { atime, mtime } = await fs.stat(file);
    await fs.writeFile(file, damaged);
    await fs.utimes(file, atime, mtime);
    warnings.length = 0;
    const { read } = await provide();
    expect(read).toBeGreaterThan(0);
    expect(await fs.readFile(file)).toEqual(sound);
    expect(warnings).toEqual([`${file} was damaged: it is packed again`]);
    // What is sound is not said, nor packed.
    expect((await provide()).read).toBe(0);
    expect(warnings).toHaveLength(1);
  });

  test('notices within a process what was changed after it was checked', async () => {
    const cache = newCache();
    await provide(cache);
    const [file = ''] = await files();
    const handle = await fs.open(file, 'r+');
    await handle.write(Buffer.from('damage'), 0, 6, 1000);
    await handle.close();
    expect((await provide(cache)).read).toBeGreaterThan(0);
  });

  test('gives up when it is told to, and leaves nothing half done', async () => {
    for (const file of await files()) await fs.rm(file);
    const controller = new AbortController();
    const reason = new Error('no longer wanted');
    const counting = {
      ...source,
      read: (name: string, offset: number, into: Uint8Array) => {
        controller.abort(reason);
        return source.read(name, offset, into);
      },
    };
    const useless = newCache().provide(counting, tensors, () => undefined, controller.signal);
    await expect(useless).rejects.toBe(reason);
    expect((await files()).filter((file) => file.endsWith('.part'))).toEqual([]);
    expect((await files()).length).toBeLessThan(tensors.length);
  });

  test('says when it cannot be written', async () => {
    const file = path.join(folder, 'file');
    await fs.writeFile(file, '');
    const cache = new MatrixCache(file, { threads: 1 });
    await expect(cache.provide(source, tensors, () => undefined)).rejects.toMatchObject({
      name: 'EngineError',
      message: expect.stringMatching(/^cannot write .*: choose another --cache-dir$/) as string,
    });
  });
});
