import { afterAll, describe, expect, test } from 'vitest';
import { ChatTemplate } from '../../model/chat-template.js';
import { TextStream } from '../../model/text-stream.js';
import { Tokenizer } from '../../model/tokenizer.js';
import { goldenCases, repositoryPath } from '../support/golden.js';

const tokenizer = Tokenizer.load(repositoryPath('models/demo.gguf'));
afterAll(() => tokenizer[Symbol.dispose]());
const plain = { parseSpecial: false, addSpecial: false };

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

  test('ends a text that stops within a character with a replacement', () => {
    const stream = new TextStream(tokenizer);
    const [first] = tokenizer.encode('😀', plain);
    expect(stream.push(first as number)).toBe('');
    expect(stream.end()).toBe('\ufffd');
  });

  test('refuses a file that is none', () => {
    expect(() => Tokenizer.load('/nonexistent.gguf')).toThrow(/cannot read the tokenizer of/);
  });
});

describe('the chat template', () => {
  const metadata = (template?: string) =>
    new Map<string, string | number | string[]>([
      ['tokenizer.ggml.tokens', ['<s>', '</s>']],
      ['tokenizer.ggml.bos_token_id', 0],
      ...(template === undefined
        ? []
        : [['tokenizer.chat_template', template] as [string, string]]),
    ]);
  const message = { role: 'user', content: 'Hi' } as const;

  test('renders messages, tokens and variables', () => {
    const template = new ChatTemplate({
      metadata: metadata(
        '{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}{% if add_generation_prompt %}>{% endif %}{{ mood }}',
      ),
    });
    const variables = { mood: '!' };
    expect(template.render([message], { addGenerationPrompt: true, variables })).toBe(
      '<s>[user] Hi>!',
    );
    expect(template.render([message], { addGenerationPrompt: false })).toBe('<s>[user] Hi');
  });

  test('fails in one line', () => {
    expect(() => new ChatTemplate({ metadata: metadata() })).toThrow(/no chat template: use --raw/);
    expect(() => new ChatTemplate({ metadata: metadata('{% if %}') })).toThrow(
      /chat template failed/,
    );
    const refusing = new ChatTemplate({
      metadata: metadata("{{ raise_exception('only two turns') }}"),
    });
    expect(() => refusing.render([message], { addGenerationPrompt: true })).toThrow(
      /failed: .*only two turns/,
    );
  });
});
