import { expect, test } from 'vitest';
import { ModelError } from '../../model/errors.js';
import { openGguf } from '../../model/gguf/reader.js';
import type { TensorSource } from '../../model/tensor-source.js';
import { checkSameVocabulary } from '../../model/vocabulary.js';
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
