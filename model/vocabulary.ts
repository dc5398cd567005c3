import { ModelError, quoted } from './errors.js';
import { metadataStringOr } from './gguf/metadata.js';
import type { MetadataValue, TensorSource } from './tensor-source.js';

const tokensKey = 'tokenizer.ggml.tokens';

/** Kinds of tokenizers (`tokenizer.ggml.model`): byte pairs, SentencePiece, and a model that comes without one. */
const tokenizers = ['gpt2', 'llama', 'none'];

/**
 * Checks what libllama ends the process over, instead of refusing it.
 * @throws ModelError that names the token
 */
export function checkVocabulary({ metadata }: Pick<TensorSource, 'metadata'>): void {
  const tokenizer = metadataStringOr(metadata, 'tokenizer.ggml.model', 'none');
  if (!tokenizers.includes(tokenizer))
    throw new ModelError(
      'unsupported',
      `unsupported tokenizer ${quoted(tokenizer)}: supported are ${tokenizers.join(', ')}`,
    );
  const texts = new Set<string>();
  piecesOf({ metadata }).forEach((piece, id) => {
    // A text ends for libllama where a zero is.
    const [text = ''] = String(piece).split('\0', 1);
    if (text !== '' && texts.has(text))
      throw damaged(`token ${id}, ${quoted(text)}, is an earlier one's text as well`);
    texts.add(text);
  });
  if (tokenizer === 'llama') checkBytes(texts);
}

/** Characters that have no token of their own are read byte by byte. */
function checkBytes(texts: ReadonlySet<string>): void {
  for (let byte = 0; byte < 256; byte++) {
    const text = `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
    if (!texts.has(text)) throw damaged(`there is no token ${text}`);
  }
}

function damaged(what: string): ModelError {
  return new ModelError(
    'damaged',
    `the model's vocabulary makes no sense, ${what}: the file is damaged`,
  );
}

/**
 * Checks that a draft's tokens mean what the target's mean.
 * @throws ModelError that says where the vocabularies differ
 */
export function checkSameVocabulary(target: TensorSource, draft: TensorSource): void {
  const wanted = piecesOf(target);
  const given = piecesOf(draft);
  const refusal = (what: string) =>
    new ModelError(
      'unsupported',
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

function piecesOf({ metadata }: Pick<TensorSource, 'metadata'>): readonly MetadataValue[] {
  const pieces = metadata.get(tokensKey);
  return Array.isArray(pieces) ? pieces : [];
}
