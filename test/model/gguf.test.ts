import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openGguf } from '../../model/gguf/reader.js';
import { tensorTypes } from '../../model/gguf/tensor-types.js';
import { writeGguf } from '../../model/gguf/writer.js';
import { loadNativeLibraries } from '../../model/native/libraries.js';
import { syntheticModel } from '../../model/synthetic/synthetic-model.js';
import type { MetadataValue, TensorInfo, TensorSource } from '../../model/tensor-source.js';
import { repositoryPath } from '../support/golden.js';

const demo = repositoryPath('models/demo.gguf');
const tiny = syntheticModel(
  {
    architecture: 'qwen3',
    layers: 2,
    hiddenSize: 64,
    heads: 2,
    kvHeads: 1,
    headSize: 32,
    feedForward: 96,
    vocabulary: 100,
    tied: false,
  },
  'q4_0',
);

let folder: string;
beforeAll(async () => void (folder = await fs.mkdtemp(path.join(os.tmpdir(), 'daisychain-'))));
afterAll(() => fs.rm(folder, { recursive: true }));

/** Writes a file with the beginning of the demo model, changed. */
async function broken(name: string, change: (bytes: Buffer) => Buffer): Promise<string> {
  const file = path.join(folder, name);
  await fs.writeFile(file, change(await fs.readFile(demo)));
  return file;
}

function write(
  name: string,
  metadata: ReadonlyMap<string, MetadataValue>,
  tensors: readonly TensorInfo[],
) {
  const file = path.join(folder, name);
  return writeGguf(file, metadata, tensors, (...part) => tiny.read(...part)).then(() => file);
}

async function closed(opening: Promise<TensorSource>): Promise<TensorSource> {
  const model = await opening;
  await model.close();
  return model;
}

describe('reading', () => {
  test('finds metadata and tensors of a real model', async () => {
    const model = await openGguf(demo);
    expect(model.metadata.get('general.architecture')).toBe('qwen3');
    expect(model.metadata.get('qwen3.block_count')).toBe(16);
    expect(model.metadata.get('qwen3.rope.freq_base')).toBe(10_000);
    expect(model.metadata.get('tokenizer.ggml.add_bos_token')).toBe(false);
    expect(model.metadata.get('tokenizer.ggml.tokens')).toHaveLength(2048);
    expect(model.tensors.size).toBe(178);
    expect(model.tensors.get('blk.3.ffn_down.weight')).toMatchObject({
      shape: [640, 256],
      bytes: (640 / 32) * 34 * 256,
      type: { name: 'q8_0' },
    });
    await model.close();
  });

  test('gives back what was written, whole and in parts', async () => {
    const tensors = [...tiny.tensors.values()];
    const model = await openGguf(await write('tiny.gguf', tiny.metadata, tensors));
    for (const { name, bytes } of tensors) {
      const [ours, theirs] = [new Uint8Array(bytes), new Uint8Array(bytes)];
      await tiny.read(name, 0, ours);
      const half = bytes >> 1;
      await model.read(name, 0, theirs.subarray(0, half));
      await model.read(name, half, theirs.subarray(half));
      expect(theirs).toEqual(ours);
    }
    await expect(model.read('output.weight', 10, new Uint8Array(1e6))).rejects.toThrow(
      /are not in/,
    );
    await model.close();
  });

  describe('split models', () => {
    const tensors = [...tiny.tensors.values()];
    const keys = (part: number, count = 2): [string, number][] => [
      ['split.no', part],
      ['split.count', count],
      ['split.tensors.count', tensors.length],
    ];
    const name = (stem: string, part: number, count = 2) =>
      `${stem}-0000${part}-of-0000${count}.gguf`;
    const writeParts = async (stem: string) => [
      await write(name(stem, 1), new Map([...tiny.metadata, ...keys(0)]), tensors.slice(0, 10)),
      await write(name(stem, 2), new Map(keys(1)), tensors.slice(10)),
    ];

    test('are joined, given any part, to the fingerprint of the whole', async () => {
      const whole = await openGguf(await write('whole.gguf', tiny.metadata, tensors));
      for (const part of await writeParts('joined')) {
        const joined = await openGguf(part);
        expect([...joined.tensors.keys()]).toEqual([...whole.tensors.keys()]);
        expect(joined.fingerprint).toBe(whole.fingerprint);
        const [ours, theirs] = [new Uint8Array(50), new Uint8Array(50)];
        await tiny.read('output.weight', 0, ours);
        await joined.read('output.weight', 0, theirs);
        expect(theirs).toEqual(ours);
        await joined.close();
      }
      await whole.close();
    });

    test('lack a part', async () => {
      const [first = '', second = ''] = await writeParts('lacking');
      await fs.rm(second);
      await expect(openGguf(first)).rejects.toThrow(
        /no such model file: .*lacking-00002-of-00002.gguf/,
      );
    });

    test('were renamed', async () => {
      const [first = ''] = await writeParts('renamed');
      const file = path.join(folder, 'renamed.gguf');
      await fs.rename(first, file);
      await expect(openGguf(file)).rejects.toThrow(
        /renamed.gguf is one of 2 parts .* NAME-00001-of-00002.gguf/,
      );
    });

    test('have a part of another model, or in the wrong place', async () => {
      const [first = '', second = ''] = await writeParts('mixed');
      await write(name('mixed', 2), new Map(keys(1)), tensors.slice(11));
      await expect(openGguf(first)).rejects.toThrow(/does not fit the other parts/);
      await fs.copyFile(first, second);
      await expect(openGguf(first)).rejects.toThrow(/does not fit the other parts/);
    });

    test('may be whole in spite of their name', async () => {
      const model = await openGguf(await write(name('whole', 2, 3), tiny.metadata, tensors));
      expect(model.tensors.size).toBe(tensors.length);
      await model.close();
    });
  });

  test('ends for good, and only once', async () => {
    const model = await openGguf(demo);
    await Promise.all([model.close(), model.close()]);
    await model.close();
    await expect(model.read('output_norm.weight', 0, new Uint8Array(4))).rejects.toMatchObject({
      name: 'ModelError',
      code: 'closed',
      message: expect.stringMatching(/demo.gguf is closed: open it again/) as string,
    });
  });

  test('keys what is kept on this machine by more than samples', async () => {
    const keys = async (file: string) => {
      const { fingerprint, contentKey } = await closed(openGguf(file));
      return { fingerprint, contentKey };
    };
    const file = await broken('unsampled.gguf', (bytes) => bytes);
    const before = await keys(file);
    expect(await keys(file)).toEqual(before);
    expect(before.fingerprint).toBe((await keys(demo)).fingerprint);

    // A byte of the embedding between the samples.
    const bytes = await fs.readFile(file);
    const at = bytes.length - 12_000_000;
    bytes[at] = 255 - (bytes[at] as number);
    await fs.writeFile(file, bytes);
    const after = await keys(file);
    expect(after.fingerprint).toBe(before.fingerprint);
    expect(after.contentKey).not.toBe(before.contentKey);
  });

  test('fingerprints tell weights and metadata apart', async () => {
    const file = await broken('other.gguf', (bytes) => {
      bytes[bytes.length - 1] = 255 - (bytes[bytes.length - 1] ?? 0);
      return bytes;
    });
    const [one, other] = [await openGguf(demo), await openGguf(file)];
    expect(one.fingerprint).not.toBe(other.fingerprint);
    expect(one.fingerprint).toMatch(/^[0-9a-f]{64}$/);
    await one.close();
    await other.close();
  });
});

describe('one-line errors', () => {
  const at =
    (offset: number, ...values: number[]) =>
    (bytes: Buffer) => {
      bytes.set(values, offset);
      return bytes;
    };
  test.each<[string, (bytes: Buffer) => Buffer, RegExp]>([
    ['text', () => Buffer.from('hello, world'), /is not a GGUF file: it begins with "hell"/],
    ['empty', () => Buffer.alloc(0), /is not a GGUF file/],
    ['version 1', at(4, 1), /is GGUF version 1: versions 2 and 3 are supported/],
    ['big-endian', at(4, 0, 0, 0, 3), /is a big-endian GGUF file/],
    ['tensor count', at(8, 255, 255, 255, 255), /is damaged: it claims to hold \d+ tensors/],
    ['string length', at(24, 255, 255, 255, 255, 255), /is damaged: it claims to hold a string of/],
    ['a string longer than the file', at(24, 0, 0, 0, 3), /truncated within its header/],
    [
      'cut header',
      (bytes) => bytes.subarray(0, 5000),
      /truncated within its header: download it again/,
    ],
    [
      'cut data',
      (bytes) => bytes.subarray(0, -1),
      /is truncated: it has \d+ bytes, its tensors need \d+: download/,
    ],
  ])('%s', async (name, change, message) => {
    const error = await openGguf(await broken(`${name}.gguf`, change)).catch((e: Error) => e);
    expect(error).toMatchObject({
      name: 'ModelError',
      message: expect.stringMatching(message) as string,
    });
    expect((error as Error).message).not.toContain('\n');
  });

  test('missing file and folder', async () => {
    await expect(openGguf(path.join(folder, 'no.gguf'))).rejects.toThrow(
      /no such model file: .*no.gguf/,
    );
    await expect(openGguf(folder)).rejects.toThrow(/is a folder: give a .gguf file/);
  });

  test('data that is not where the tensors before end', async () => {
    const bytes = await fs.readFile(
      await write('placed.gguf', tiny.metadata, [...tiny.tensors.values()]),
    );
    const offset = bytes.indexOf('blk.0.attn_norm.weight') + 'blk.0.attn_norm.weight'.length + 16;
    bytes.writeBigUInt64LE(bytes.readBigUInt64LE(offset) + 32n, offset);
    const file = path.join(folder, 'misplaced.gguf');
    await fs.writeFile(file, bytes);
    await expect(openGguf(file)).rejects.toThrow(
      /tensor blk.0.attn_norm.weight elsewhere than behind the one before/,
    );
  });

  test('metadata that is there twice', async () => {
    const metadata = new Map([
      ['first.key', 1],
      ['other.key', 2],
    ]);
    const bytes = await fs.readFile(await write('keys.gguf', metadata, []));
    const file = path.join(folder, 'key-twice.gguf');
    bytes.write('first', bytes.indexOf('other'));
    await fs.writeFile(file, bytes);
    await expect(openGguf(file)).rejects.toThrow(/claims to hold the metadata "first.key" twice/);
  });

  test('a tensor that is there twice, or has a garbled name', async () => {
    const [tensor] = tiny.tensors.values();
    if (!tensor) throw new Error('no tensor');
    const twice = await write('twice.gguf', tiny.metadata, [tensor, tensor]);
    await expect(openGguf(twice)).rejects.toThrow(/tensor token_embd.weight is there twice/);
    const file = path.join(folder, 'garbled.gguf');
    await writeGguf(file, tiny.metadata, [{ ...tensor, name: 'a\u001b[2J' }], (_, offset, into) =>
      tiny.read(tensor.name, offset, into),
    );
    await expect(openGguf(file)).rejects.toThrow(/a tensor without a readable name/);
  });

  test('unsupported quantization', async () => {
    const removed = { id: 31, name: 'q4_0_4_4', blockSize: 32, blockBytes: 18 };
    const [tensor] = [...tiny.tensors.values()].map((t) => ({ ...t, type: removed }));
    const file = await write('removed.gguf', tiny.metadata, tensor ? [tensor] : []);
    await expect(openGguf(file)).rejects.toThrow(
      /unsupported quantization: tensor token_embd.weight has type 31, which ggml knew as q4_0_4_4/,
    );
  });
});

describe('writing', () => {
  const roundTrip = async (metadata: Map<string, MetadataValue>) => {
    const model = await openGguf(await write('round-trip.gguf', metadata, []));
    await model.close();
    return model.metadata;
  };

  test.each<[string, MetadataValue]>([
    ['a whole number', 7],
    ['a negative number', -7],
    ['a large number', 2 ** 40],
    ['a larger number', 2n ** 63n + 1n],
    ['a small number', -(2n ** 60n)],
    ['a fraction', 0.25],
    ['a text', 'naïve 字 \u0000'],
    ['a truth', true],
    ['texts', ['a', '', 'b']],
    ['truths', [true, false]],
    ['numbers of both signs', [1, -1, 0]],
    ['whole numbers and fractions', [1, -0.5, 3]],
    ['large numbers', [1, 2 ** 40]],
    ['nothing', []],
  ])('keeps %s', async (_, value) => {
    expect((await roundTrip(new Map([['key', value]]))).get('key')).toEqual(value);
  });

  test('keeps the metadata of a real model', async () => {
    const model = await openGguf(demo);
    expect(await roundTrip(new Map(model.metadata))).toEqual(model.metadata);
    await model.close();
  });

  test('refuses what GGUF cannot hold, and places it cannot write to', async () => {
    await expect(roundTrip(new Map([['key', [1, 'a']]]))).rejects.toThrow(
      /metadata "key" mixes types/,
    );
    await expect(
      writeGguf(path.join(folder, 'no', 'x.gguf'), new Map(), [], () => Promise.resolve()),
    ).rejects.toThrow(/cannot write .*x.gguf: ENOENT/);
  });
});

test('tensor types are those of ggml', () => {
  const { ggmlBase } = loadNativeLibraries();
  const name = ggmlBase.func('const char* ggml_type_name(int)') as (id: number) => string;
  const blockBytes = ggmlBase.func('size_t ggml_type_size(int)') as (id: number) => number;
  const blockSize = ggmlBase.func('int64 ggml_blck_size(int)') as (id: number) => number;
  for (let id = 0; id < 43; id++) {
    const ggmlType: unknown =
      blockSize(id) > 0
        ? { id, name: name(id), blockSize: blockSize(id), blockBytes: blockBytes(id) }
        : undefined;
    expect(tensorTypes.get(id), `type ${id}`).toEqual(ggmlType);
  }
});
