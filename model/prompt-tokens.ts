import type { Tokenizer } from './tokenizer.js';

/** Token ids of a whole text, special tokens parsed; begins as the model wants, but only once. */
export function promptTokens(
  text: string,
  tokenizer: Pick<Tokenizer, 'encode' | 'bosToken'>,
): Int32Array {
  const begins = tokenizer.bosToken !== '' && text.startsWith(tokenizer.bosToken);
  return tokenizer.encode(text, { parseSpecial: true, addSpecial: !begins });
}
