import { ModelError } from './errors.js';
import type { MetadataValue, TensorSource } from './tensor-source.js';

const tokensKey = 'tokenizer.ggml.tokens';

/**
 * Checks that a draft's tokens mean what the target's mean.
 * @throws ModelError that says where the vocabularies differ
 */
export function checkSameVocabulary(target: TensorSource, draft: TensorSource): void {
  const wanted = piecesOf(target);
  const given = piecesOf(draft);
  const refusal = (what: string) =>
    new ModelError(
      `the draft has another vocabulary than the model: ${what}; use a small model of the same family`,
    );
  if (wanted.length !== given.length)
    throw refusal(`${given.length} tokens instead of ${wanted.length}`);
  const different = wanted.findIndex((piece, id) => piece !== given[id]);
  if (different >= 0)
    throw refusal(
      `token ${different} is ${JSON.stringify(given[different])} instead of ${JSON.stringify(wanted[different])}`,
    );
}

function piecesOf({ metadata }: TensorSource): readonly MetadataValue[] {
  const pieces = metadata.get(tokensKey);
  return Array.isArray(pieces) ? pieces : [];
}
