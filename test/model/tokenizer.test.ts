import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { chatFormatOf } from '../../model/chat-format/chat-format.js';
import { openGguf } from '../../model/gguf/reader.js';
import { writeGguf } from '../../model/gguf/writer.js';
import { promptTokens } from '../../model/prompt-tokens.js';
import { syntheticModel } from '../../model/synthetic/synthetic-model.js';
import type { MetadataValue } from '../../model/tensor-source.js';
import { TextStream } from '../../model/text-stream.js';
import { Tokenizer } from '../../model/tokenizer.js';
import { goldenCases, repositoryPath } from '../support/golden.js';

const tokenizer = Tokenizer.load(repositoryPath('models/demo.gguf'));
afterAll(() => tokenizer[Symbol.dispose]());
const plain = { parseSpecial: false, addSpecial: false };

let folder: string;
beforeAll(async () => void (folder = await fs.mkdtemp(path.join(os.tmpdir(), 'daisychain-'))));
afterAll(() => fs.rm(folder, { recursive: true }));

/** A file without weights: the demo model's metadata, changed. */
async function vocabularyFile(name: string, changes: [string, MetadataValue][]): Promise<string> {
  const demo = await openGguf(repositoryPath('models/demo.gguf'));
  const file = path.join(folder, name);
  await writeGguf(file, new Map([...demo.metadata, ...changes]), [], () => Promise.resolve());
  await demo.close();
  return file;
}

describe('the tokenizer', () => {
  test.each(goldenCases('demo-q8_0.json'))('reads $prompt as llama.cpp does', (golden) => {
    const ids = tokenizer.encode(golden.prompt, { parseSpecial: true, addSpecial: false });
    expect([...ids]).toEqual(golden.promptTokens);
  });

  test('reads special tokens only when asked', () => {
    const special = { parseSpecial: true, addSpecial: false };
    expect(tokenizer.encode('<|im_end|>', special)).toEqual(Int32Array.of(2));
    expect(tokenizer.encode('<|im_end|>', plain).length).toBeGreaterThan(1);
  });

  test('knows its special tokens', () => {
    expect(tokenizer).toMatchObject({
      size: 2048,
      bosToken: '<|endoftext|>',
      eosToken: '<|im_end|>',
      addsBos: false,
    });
    expect([0, 1, 2, 300].map((id) => tokenizer.isEndOfGeneration(id))).toEqual([
      true,
      false,
      true,
      false,
    ]);
  });

  test.each([
    '',
    ' ',
    '\ufeffmark',
    'plain',
    'naïve café',
    '日本語テキスト',
    '👩‍👩‍👧‍👦 emoji 😀',
    'a\u0000b',
    'x'.repeat(20_000),
  ])('gives back %j, streamed, without half characters', (text) => {
    const stream = new TextStream(tokenizer);
    const pieces = [...tokenizer.encode(text, plain)].map((id) => stream.push(id));
    expect(pieces.join('') + stream.end()).toBe(text);
    expect(pieces.join('')).not.toContain('\ufffd');
  });

  test('leaves out special tokens, except markers', () => {
    const ids = tokenizer.encode('é<|im_start|>b<|im_end|>', {
      parseSpecial: true,
      addSpecial: false,
    });
    const textWith = (markers: string[]) => {
      const stream = new TextStream(tokenizer, new Set(markers));
      return [...ids].map((id) => stream.push(id)).join('') + stream.end();
    };
    expect(textWith([])).toBe('éb');
    expect(textWith(['<|im_start|>'])).toBe('é<|im_start|>b');
  });

  test('ends a text that stops within a character with a replacement', () => {
    const stream = new TextStream(tokenizer);
    const [first] = tokenizer.encode('😀', plain);
    expect(stream.push(first as number)).toBe('');
    expect(stream.end()).toBe('\ufffd');
  });

  test('reads and writes texts of more than 130,000 tokens', () => {
    const line = 'Once upon a time there was a naïve 字 in a story. ';
    const text = line.repeat(Math.ceil(140_000 / tokenizer.encode(line, plain).length));
    const ids = promptTokens(text, tokenizer);
    expect(ids.length).toBeGreaterThan(130_000);
    const stream = new TextStream(tokenizer);
    const pieces = Array.from(ids, (id) => stream.push(id));
    expect(pieces.join('') + stream.end()).toBe(text);

    const format = chatFormatOf('{{ messages[0].content }}', { bos: '', eos: '' });
    const messages = [{ role: 'user', content: text } as const];
    expect(format.render(messages)).toBe(text);
  });

  test('reads half a surrogate pair as a replacement', () => {
    const pieces = [...tokenizer.encode('a\ud83d', plain)].map((id) => tokenizer.piece(id));
    expect(Buffer.concat(pieces).toString()).toBe('a\ufffd');
  });

  test('refuses tokens that are none, instead of ending the process', () => {
    for (const id of [-1, 2048, 2 ** 31 - 1, Number.NaN])
      expect(() => tokenizer.piece(id)).toThrow(/token \S+ is not in the vocabulary of 2048/);
    expect(tokenizer.isEndOfGeneration(2048)).toBe(false);
  });

  test('can be closed twice, and is not used afterwards', () => {
    const closed = Tokenizer.load(repositoryPath('models/demo.gguf'));
    closed[Symbol.dispose]();
    closed[Symbol.dispose]();
    expect(() => closed.encode('a', plain)).toThrow(/the tokenizer is closed/);
    expect(() => closed.size).toThrow(expect.objectContaining({ code: 'closed' }) as Error);
  });

  test('is read from a path in any script', async () => {
    using other = Tokenizer.load(await vocabularyFile('模型 é.gguf', []));
    expect(other.encode('story', plain)).toEqual(tokenizer.encode('story', plain));
  });

  test('begins a text as the model wants, but only once', async () => {
    const adding = await vocabularyFile('bos.gguf', [['tokenizer.ggml.add_bos_token', true]]);
    using other = Tokenizer.load(adding);
    const begun = [...promptTokens('<|endoftext|>Hi', tokenizer)];
    expect(begun[0]).toBe(0);
    expect([...promptTokens('Hi', other)]).toEqual(begun);
    expect([...promptTokens('<|endoftext|>Hi', other)]).toEqual(begun);
  });

  test('is read from any part of a split model', async () => {
    const keys = (part: number): [string, number][] => [
      ['split.no', part],
      ['split.count', 2],
      ['split.tensors.count', 0],
    ];
    await vocabularyFile('split-00001-of-00002.gguf', keys(0));
    using other = Tokenizer.load(await vocabularyFile('split-00002-of-00002.gguf', keys(1)));
    expect(other.size).toBe(2048);
  });

  test('refuses a run of characters that would overflow the stack of libllama', async () => {
    using other = Tokenizer.load(
      await vocabularyFile('tekken.gguf', [['tokenizer.ggml.pre', 'tekken']]),
    );
    for (const long of ['x'.repeat(50_000), `a\n${' '.repeat(50_000)}b`, '字'.repeat(5_000)])
      expect(() => other.encode(long, plain)).toThrow(/characters without a break .*: break it up/);
    for (const text of ['x'.repeat(4000), 'some words '.repeat(5000)])
      expect(Buffer.concat([...other.encode(text, plain)].map((id) => other.piece(id)))).toEqual(
        Buffer.from(text),
      );
  });

  test('refuses files without a tokenizer, or with one that is damaged', async () => {
    const refused = /cannot read the tokenizer of/;
    const demo = repositoryPath('models/demo.gguf');
    const cut = path.join(folder, 'cut.gguf');
    await fs.writeFile(cut, (await fs.readFile(demo)).subarray(0, 5000));
    const text = path.join(folder, 'text.gguf');
    await fs.writeFile(text, 'hello, world');
    const none = path.join(folder, 'none.gguf');
    const model = syntheticModel('qwen3-0.6b', 'q4_0');
    await writeGguf(none, model.metadata, [], () => Promise.resolve());
    const files = [
      '/nonexistent.gguf',
      folder,
      cut,
      text,
      none,
      await vocabularyFile('pre.gguf', [['tokenizer.ggml.pre', 'unheard-of']]),
      await vocabularyFile('types.gguf', [['tokenizer.ggml.token_type', [1, 2]]]),
      await vocabularyFile('tokens.gguf', [['tokenizer.ggml.tokens', 7]]),
    ];
    for (const file of files) expect(() => Tokenizer.load(file), file).toThrow(refused);
  });
});
