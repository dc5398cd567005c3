import type { Tokenizer } from '../model/tokenizer.js';

/** What prompts are made of: stories, talk, code, figures, other scripts. `#` becomes a number. */
const pieces: readonly string[] = [
  'Tell me a story about a fox named Mia and # red kites. ',
  'Once upon a time there was a baker who sold # loaves every morning, and kept the last one for the crows.\n',
  'What is speculative decoding? A draft model guesses # tokens, and the target checks them in one step. ',
  'Erzähl mir eine Geschichte über einen Fuchs — naïve café, 東京 🦊🪁 und # Äpfel. ',
  'function mean(values) {\n  return values.reduce((sum, x) => sum + x, #) / values.length;\n}\n',
  '17 * # = ?\n1, 2, 3, 5, 8, 13, # ...\n',
  '{"name": "Ada", "born": 18#, "tags": ["mathematics", "engines"]}\n',
  '今天天气很好，我们去公园散步，看见了#只鸟。',
  'Привет, как дела? У меня # вопросов. ',
  'Copy: red, blue, green, amber, #, violet. ',
  '"Well," she said, and closed the book, "that was not the ending I had hoped for # times!"\n\n',
  '#\t#\t#\n----\n',
];

/** A share of 1 that depends on two numbers and nothing else (Marsaglia's xorshift, mixed). */
function share(a: number, b: number): number {
  let state = Math.imul(a + 1, 0x9e3779b9) ^ Math.imul(b + 1, 0x85ebca6b) || 1;
  for (let i = 0; i < 4; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
  }
  return (state >>> 0) / 2 ** 32;
}

/**
 * A prompt of the trial; the same number always gives the same.
 * @param most tokens; even numbers give all lengths alike, odd ones short texts as often as long
 */
export function trialPrompt(
  number: number,
  most: number,
  tokenizer: Pick<Tokenizer, 'encode'>,
): Int32Array {
  const length =
    number % 2 === 0
      ? 1 + Math.floor(share(number, 0) * most)
      : Math.ceil(most ** share(number, 0));
  const tokens: number[] = [];
  for (let i = 1; tokens.length < length; i += 2) {
    const piece = pieces[Math.floor(share(number, i) * pieces.length)] as string;
    const text = piece.replaceAll('#', () => String(Math.floor(share(number, i + 1) * 100)));
    tokens.push(...tokenizer.encode(text, { parseSpecial: false, addSpecial: false }));
  }
  return Int32Array.from(tokens.slice(0, length));
}
