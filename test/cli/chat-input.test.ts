import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { parseCommand } from '../../cli/chat/commands.js';
import { HistoryFile } from '../../cli/chat/history.js';
import { InputAssembler } from '../../cli/chat/input-assembler.js';
import { LineReader } from '../../cli/chat/line-reader.js';

/** Lies under a file. */
const unwritable = path.join(process.execPath, 'history');

function inputsOf(lines: readonly string[]): string[] {
  const assembler = new InputAssembler();
  return lines.map((line) => assembler.push(line)).filter((input) => input !== undefined);
}

describe('lines become inputs', () => {
  test.each([
    [
      ['a', 'b'],
      ['a', 'b'],
    ],
    [['a\\', 'b\\', 'c'], ['a\nb\nc']],
    [['\\', 'b'], ['\nb']],
    [['"""', 'a\\', '', '  b', '"""'], ['a\\\n\n  b']],
    [
      ['"""a', 'b"""', 'c'],
      ['a\nb', 'c'],
    ],
    [['"""a"""'], ['a']],
    [
      ['a """', 'b'],
      ['a """', 'b'],
    ],
    [
      ['a\\', '"""', 'b'],
      ['a\n"""', 'b'],
    ],
    [['""""""'], ['']],
    [[''], ['']],
  ])('%j', (lines, inputs) => {
    expect(inputsOf(lines)).toEqual(inputs);
  });

  test('what has begun can be forgotten', () => {
    const assembler = new InputAssembler();
    assembler.push('"""');
    assembler.push('a');
    expect(assembler.pending).toBe(true);
    assembler.discard();
    expect(assembler.pending).toBe(false);
    expect(assembler.push('b')).toBe('b');
  });
});

describe('commands', () => {
  test.each([
    ['/reset', { name: 'reset', argument: '' }],
    ['  /stats ', { name: 'stats', argument: '' }],
    ['/system Be brief.\nAnd kind.', { name: 'system', argument: 'Be brief.\nAnd kind.' }],
    ['/rest', { name: 'unknown', hint: 'unknown command /rest: did you mean /reset?' }],
    ['/frobnicate', { name: 'unknown', hint: 'unknown command /frobnicate: try /help' }],
    ['/usr/bin/env is what?', undefined],
    ['a /reset', undefined],
    ['/ what', undefined],
  ])('%j', (input, command) => {
    expect(parseCommand(input)).toEqual(command);
  });
});

test('the history is kept for its owner alone, oldest first', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'daisychain-history-'));
  try {
    const file = path.join(folder, 'state', 'history');
    const history = new HistoryFile(file);
    expect(history.read()).toEqual([]);
    history.write(['new', 'old']);
    expect(fs.readFileSync(file, 'utf8')).toBe('old\nnew\n');
    expect(fs.statSync(file).mode & 0o777).toBe(0o600);
    expect(history.read()).toEqual(['new', 'old']);
    expect(() => new HistoryFile(unwritable).write(['a'])).not.toThrow();
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
});

/** Streams that stand for a terminal. */
function fakeTerminal() {
  const input = new PassThrough() as unknown as NodeJS.ReadStream & PassThrough;
  const output = new PassThrough() as unknown as NodeJS.WriteStream & PassThrough;
  output.columns = 80;
  let shown = '';
  output.on('data', (data: Buffer) => (shown += data.toString()));
  const history = new HistoryFile(unwritable);
  const reader = new LineReader(input, output, true, history);
  return { input, reader, shown: () => shown, [Symbol.dispose]: () => reader[Symbol.dispose]() };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('the line reader', () => {
  test('gives piped lines one by one and then nothing', async () => {
    const input = new PassThrough() as unknown as NodeJS.ReadStream & PassThrough;
    const output = new PassThrough() as unknown as NodeJS.WriteStream & PassThrough;
    using reader = new LineReader(input, output, false, new HistoryFile(unwritable));
    input.end('a\nb\n\nc');
    const lines = [];
    for (let line = await reader.read('> '); line !== undefined; line = await reader.read('> '))
      lines.push(line);
    expect(lines).toEqual(['a', 'b', '', 'c']);
    expect(output.read()).toBeNull();
  });

  test('shows nothing of what is typed during an answer, and keeps it', async () => {
    using terminal = fakeTerminal();
    const { input, reader, shown } = terminal;
    const first = reader.read('> ');
    input.write('one\r');
    expect(await first).toBe('one');
    input.write('two\rthr');
    await turn();
    expect(shown()).not.toContain('two');
    expect(await reader.read('> ')).toBe('two');
    const third = reader.read('> ');
    input.write('ee\r');
    expect(await third).toBe('three');
    await turn();
    expect(shown()).toContain('> two');
  });

  test('tells of Ctrl-C, empties its line, and ends with Ctrl-D', async () => {
    using terminal = fakeTerminal();
    const { input, reader } = terminal;
    let interrupts = 0;
    reader.onInterrupt = () => interrupts++;
    const line = reader.read('> ');
    input.write('abc\x03');
    await turn();
    expect(interrupts).toBe(1);
    expect(reader.hasText).toBe(true);
    reader.clearLine();
    expect(reader.hasText).toBe(false);
    input.write('\x04');
    expect(await line).toBeUndefined();
    expect(await reader.read('> ')).toBeUndefined();
  });
});
