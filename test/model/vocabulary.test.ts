import { expect, test } from 'vitest';
import { ModelError } from '../../model/errors.js';
import { openGguf } from '../../model/gguf/reader.js';
import type { TensorSource } from '../../model/tensor-source.js';
import { checkSameVocabulary, checkVocabulary } from '../../model/vocabulary.js';
import { repositoryPath } from '../support/golden.js';

function vocabulary(...tokens: string[]): TensorSource {
  const metadata = new Map([['tokenizer.ggml.tokens', tokens]]);
  return { metadata } as unknown as TensorSource;
}

test('a draft needs the same pieces under the same ids', async () => {
  const target = vocabulary('a', 'b', 'c');
  checkSameVocabulary(target, vocabulary('a', 'b', 'c'));
  const refused = (draft: TensorSource) => expect(() => checkSameVocabulary(target, draft));
  refused(vocabulary('a', 'b')).toThrow(ModelError);
  refused(vocabulary('a', 'b')).toThrow(/another vocabulary.*2 tokens instead of 3/);
  refused(vocabulary('a', 'x', 'c')).toThrow(/token 1 is "x" instead of "b"/);

  const demo = await openGguf(repositoryPath('models/demo.gguf'));
  const draft = await openGguf(repositoryPath('models/demo-draft.gguf'));
  checkSameVocabulary(demo, draft);
  await demo.close();
  await draft.close();
});

test('a vocabulary that would end the process is refused', () => {
  const check = (tokenizer: string, ...tokens: string[]) => {
    const metadata = new Map<string, string | string[]>([
      ['tokenizer.ggml.model', tokenizer],
      ['tokenizer.ggml.tokens', tokens],
    ]);
    return () => checkVocabulary({ metadata });
  };
  expect(check('gpt2', 'a', 'b', '', 'c', '')).not.toThrow();
  expect(check('gpt2', 'a', 'b', 'a')).toThrow(/token 2, "a", is an earlier one's text as well/);
  expect(check('gpt2', 'a', 'b', 'a\0c')).toThrow(/token 2, "a", is an earlier one's text as well/);
  expect(check('bert', 'a')).toThrow(/unsupported tokenizer "bert": supported are gpt2, llama/);

  const bytes = Array.from(Buffer.alloc(256).keys(), (byte) => Buffer.of(byte).toString('hex'));
  const pieces = bytes.map((hex) => `<0x${hex.toUpperCase()}>`);
  expect(check('llama', ...pieces)).not.toThrow();
  expect(check('llama', ...pieces.slice(0, -1))).toThrow(ModelError);
  expect(check('llama', ...pieces.slice(0, -1))).toThrow(/there is no token <0xFF>/);
});
