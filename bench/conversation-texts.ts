import { randomTokens } from '../model/random-tokens.js';

/** Texts that conversations begin with. */
export interface TextSizes {
  readonly conversations: number;
  /** Tokens of each. */
  readonly tokens: number;
  /** The first of them, which all texts have in common. */
  readonly shared: number;
  readonly vocabulary: number;
}

/** Random texts, the same every time. @param round others for every number, from 0 on */
export function conversationTexts(
  { conversations, tokens, shared, vocabulary }: TextSizes,
  round = 0,
): Int32Array[] {
  const own = tokens - shared;
  const each = shared + conversations * own;
  const all = randomTokens((round + 1) * each, vocabulary).subarray(round * each);
  return Array.from({ length: conversations }, (_, i) => {
    const first = shared + i * own;
    return Int32Array.from([...all.subarray(0, shared), ...all.subarray(first, first + own)]);
  });
}
