import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Display } from '../../cli/chat/display.js';
import type { RunReport } from '../../cli/run.js';
import { openGguf } from '../../model/gguf/reader.js';
import { writeGguf } from '../../model/gguf/writer.js';
import { runCommand } from '../support/cli.js';
import { repositoryPath } from '../support/golden.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'daisychain-reasoning-'));
const model = path.join(folder, 'thinking.gguf');
afterAll(() => fs.rmSync(folder, { recursive: true }));

/** As in ChatML, but nines are written as the marker that has taken their token. */
const template = `{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content | replace('9', '<think>') | replace('=', '</think>') }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}`;

/** The demo model, asked for 9 plus 5, says "9 + 5 = 14.": two of its tokens become control tokens, which mark reasoning. */
beforeAll(async () => {
  const demo = await openGguf(repositoryPath('models/demo.gguf'));
  const tokens = [...(demo.metadata.get('tokenizer.ggml.tokens') as string[])];
  const types = [...(demo.metadata.get('tokenizer.ggml.token_type') as number[])];
  const mark = (token: string, marker: string) => {
    const id = tokens.indexOf(token);
    expect(id).toBeGreaterThan(0);
    tokens[id] = marker;
    types[id] = 3;
  };
  mark('9', '<think>');
  mark('Ġ=', '</think>');
  const metadata = new Map([
    ...demo.metadata,
    ['tokenizer.ggml.tokens', tokens],
    ['tokenizer.ggml.token_type', types],
    ['tokenizer.chat_template', template],
  ]);
  await writeGguf(model, metadata, [...demo.tensors.values()], (...part) => demo.read(...part));
  await demo.close();
});

const question = 'What is 9 plus 5?';

describe('reasoning', () => {
  test('is apart in --json, and before the answer in text', async () => {
    const json = await runCommand(['run', '-m', model, '-p', question, '--json']);
    expect(json).toMatchObject({ code: 0, stderr: '' });
    const { reasoning, text } = JSON.parse(json.stdout) as RunReport;
    expect(reasoning).toBe('+ 5');
    expect(text).toMatch(/^\d+\.$/);
    const plain = await runCommand(['run', '-m', model, '-p', question]);
    expect(plain.stdout).toBe(`${reasoning}\n\n${text}\n`);
  });

  test('comes before every answer of a chat', async () => {
    const { code, stdout } = await runCommand(['chat', '-m', model], `${question}\n${question}\n`);
    expect(code).toBe(0);
    expect(stdout.match(/^\+ 5\n\n\d+\.$/gm)).toHaveLength(2);
  });

  test('cannot be switched off where the template has no switch', async () => {
    const args = ['run', '-m', model, '-p', question, '--reasoning', 'off'];
    const { code, stderr } = await runCommand(args);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/^[^\n]*cannot switch reasoning off: leave out --reasoning off\n$/);
  });
});

test('reasoning is dim on a terminal, and its control characters stay out of it', () => {
  const shown = (isTerminal: boolean) => {
    const output = new PassThrough();
    const display = new Display(output as unknown as NodeJS.WriteStream, isTerminal);
    display.answer({ type: 'reasoning', text: 'H\x1bm' });
    display.answer({ type: 'reasoning', text: '.' });
    display.answer({ type: 'text', text: 'A day.' });
    display.line();
    display.answer({ type: 'text', text: 'Yes.' });
    return String(output.read());
  };
  expect(shown(true)).toBe('\x1b[2mH\ufffdm\x1b[0m\x1b[2m.\x1b[0m\n\nA day.\nYes.');
  expect(shown(false)).toBe('H\x1bm.\n\nA day.\nYes.');
});
