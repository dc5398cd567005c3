import { afterAll, describe, expect, test } from 'vitest';
import { Transcript, type Turn } from '../../cli/chat/transcript.js';
import { promptTokens } from '../../model/prompt-tokens.js';
import { chatFormatOfModel } from '../../model/chat-format/chat-format.js';
import type { ChatMessage } from '../../model/chat-format/message.js';
import { openGguf } from '../../model/gguf/reader.js';
import { Tokenizer } from '../../model/tokenizer.js';
import { TokenText } from '../../step/token-text.js';
import { repositoryPath } from '../support/golden.js';

const model = repositoryPath('models/demo.gguf');
const source = await openGguf(model);
const tokenizer = Tokenizer.load(model);
const template = chatFormatOfModel(source);
afterAll(async () => {
  tokenizer[Symbol.dispose]();
  await source.close();
});

const encode = (text: string) => [
  ...tokenizer.encode(text, { parseSpecial: true, addSpecial: false }),
];

/** A transcript, and the conversation that it is of. */
function newTranscript() {
  const held = new TokenText();
  return { held, transcript: new Transcript(template, tokenizer, held, undefined) };
}

/** What a conversation does with a turn. */
function answer(held: TokenText, turn: Turn, tokens: readonly number[]): void {
  held.replace(turn.tokens);
  for (const token of tokens) held.confirm(token);
}

describe('a transcript', () => {
  // Letter by letter: not how the tokenizer would cut this answer.
  const letters = [...'story'].flatMap((letter) => encode(letter));
  const story = [...letters, ...encode('<|im_end|>')];

  test('begins a turn with exactly the tokens of the answer before', () => {
    expect(letters).not.toEqual(encode('story'));
    const { held, transcript } = newTranscript();
    const first = transcript.begin('Hello');
    answer(held, first, story);
    transcript.finish(first, { text: 'story', reasoning: '', tokens: story });
    const expected = [...first.tokens, ...story];
    const second = transcript.begin('Go on');
    expect([...second.tokens.subarray(0, expected.length)]).toEqual(expected);
    const text = [...second.tokens].map((token) => tokenizer.piece(token, true));
    expect(Buffer.concat(text).toString()).toBe(second.text);
  });

  test('goes on after an answer that was stopped', () => {
    const { held, transcript } = newTranscript();
    const first = transcript.begin('Hello');
    answer(held, first, encode('Once'));
    transcript.finish(first, { text: 'Once', reasoning: '', tokens: encode('Once') });
    const { text, tokens } = transcript.begin('Go on');
    expect(text).toContain('<|im_start|>assistant\nOnce<|im_end|>\n');
    expect([...tokens]).toEqual([...promptTokens(text, tokenizer)]);
  });

  test('keeps reasoning apart from what was said', () => {
    const seen: (string | undefined)[] = [];
    const format = {
      render(messages: readonly ChatMessage[]) {
        seen.push(messages[1]?.reasoning_content);
        return template.render(messages);
      },
    };
    const held = new TokenText();
    const transcript = new Transcript(format, tokenizer, held, undefined);
    const first = transcript.begin('Hello');
    answer(held, first, story);
    transcript.finish(first, { text: 'story', reasoning: 'A tale.', tokens: story });
    expect(transcript.begin('Go on').text).not.toContain('A tale.');
    expect(seen).toEqual([undefined, 'A tale.']);
  });

  test('is as it was when a turn is not finished', () => {
    const { held, transcript } = newTranscript();
    const first = transcript.begin('Hello');
    answer(held, first, story);
    transcript.finish(first, { text: 'story', reasoning: '', tokens: story });
    const before = transcript.begin('Go on');
    answer(held, transcript.begin('Something else'), letters);
    expect(transcript.begin('Go on')).toEqual(before);
  });

  test('does not take tokens of another text for its own', () => {
    const { held, transcript } = newTranscript();
    const first = transcript.begin('Hello');
    answer(held, first, story);
    transcript.finish(first, { text: 'story', reasoning: '', tokens: story });
    transcript.system = 'Be brief.';
    // Is not finished, but what the conversation holds has changed.
    answer(held, transcript.begin('Go on'), letters);
    transcript.system = undefined;
    const { text, tokens } = transcript.begin('Go on');
    expect([...tokens]).toEqual([...promptTokens(text, tokenizer)]);
  });

  test('takes a new system prompt, and keeps it when it is reset', () => {
    const { held, transcript } = newTranscript();
    const first = transcript.begin('Hello');
    const tokens = encode('Hi<|im_end|>');
    answer(held, first, tokens);
    transcript.finish(first, { text: 'Hi', reasoning: '', tokens });
    transcript.system = 'Be brief.';
    const second = transcript.begin('Go on');
    expect(second.text).toContain('Be brief.');
    expect([...second.tokens]).toEqual([...promptTokens(second.text, tokenizer)]);
    transcript.reset();
    expect(transcript.begin('Hello').text).not.toContain('Go on');
    expect(transcript.begin('Hello').text).toContain('Be brief.');
  });

  test('holds texts of any length', () => {
    const { held, transcript } = newTranscript();
    const first = transcript.begin('Hello');
    const long = Array.from({ length: 26_000 }, () => letters).flat();
    answer(held, first, long);
    transcript.finish(first, { text: 'story'.repeat(26_000), reasoning: '', tokens: long });
    const { tokens } = transcript.begin('Go on');
    const expected = Int32Array.from([...first.tokens, ...long]);
    expect(tokens.subarray(0, expected.length)).toEqual(expected);
  });
});
