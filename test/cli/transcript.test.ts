import { afterAll, describe, expect, test } from 'vitest';
import { Transcript } from '../../cli/chat/transcript.js';
import { promptTokens } from '../../model/prompt-tokens.js';
import { ChatTemplate } from '../../model/chat-template.js';
import { openGguf } from '../../model/gguf/reader.js';
import { Tokenizer } from '../../model/tokenizer.js';
import { repositoryPath } from '../support/golden.js';

const model = repositoryPath('models/demo.gguf');
const source = await openGguf(model);
const tokenizer = Tokenizer.load(model);
const template = new ChatTemplate(source);
afterAll(async () => {
  tokenizer[Symbol.dispose]();
  await source.close();
});

const encode = (text: string) => [
  ...tokenizer.encode(text, { parseSpecial: true, addSpecial: false }),
];

describe('a transcript', () => {
  test('begins a turn with exactly the tokens of the answer before', () => {
    const transcript = new Transcript(template, tokenizer, undefined);
    const first = transcript.begin('Hello');
    // Letter by letter: not how the tokenizer would cut this answer.
    const answer = [...'story'].flatMap((letter) => encode(letter));
    expect(answer).not.toEqual(encode('story'));
    transcript.finish(first, { text: 'story', tokens: [...answer, ...encode('<|im_end|>')] });
    const held = [...first.tokens, ...answer];
    const second = transcript.begin('Go on');
    expect([...second.tokens.subarray(0, held.length)]).toEqual(held);
    const text = [...second.tokens].map((token) => tokenizer.piece(token, true));
    expect(Buffer.concat(text).toString()).toBe(second.text);
  });

  test('goes on after an answer that was stopped', () => {
    const transcript = new Transcript(template, tokenizer, undefined);
    const first = transcript.begin('Hello');
    transcript.finish(first, { text: 'Once', tokens: encode('Once') });
    const { text, tokens } = transcript.begin('Go on');
    expect(text).toContain('<|im_start|>assistant\nOnce<|im_end|>\n');
    expect([...tokens]).toEqual([...promptTokens(text, tokenizer)]);
  });

  test('is as it was when a turn is not finished', () => {
    const transcript = new Transcript(template, tokenizer, undefined);
    const before = transcript.begin('Hello').text;
    transcript.begin('Something else');
    expect(transcript.begin('Hello').text).toBe(before);
  });

  test('takes a new system prompt, and keeps it when it is reset', () => {
    const transcript = new Transcript(template, tokenizer, undefined);
    transcript.finish(transcript.begin('Hello'), { text: 'Hi', tokens: encode('Hi<|im_end|>') });
    transcript.system = 'Be brief.';
    const { text, tokens } = transcript.begin('Go on');
    expect(text).toContain('Be brief.');
    expect([...tokens]).toEqual([...promptTokens(text, tokenizer)]);
    transcript.reset();
    expect(transcript.begin('Hello').text).not.toContain('Go on');
    expect(transcript.begin('Hello').text).toContain('Be brief.');
  });
});
