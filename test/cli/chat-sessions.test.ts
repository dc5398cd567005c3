import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SessionFolder, type Session } from '../../cli/chat/session-folder.js';
import { childrenOf, RunningCommand } from '../support/cli.js';
import { repositoryPath } from '../support/golden.js';

let folder: string;
beforeEach(() => void (folder = fs.mkdtempSync(path.join(os.tmpdir(), 'daisychain-chats-'))));
afterEach(() => fs.rmSync(folder, { recursive: true }));

const session: Session = {
  version: 1,
  savedAt: '2026-03-01T10:00:00.000Z',
  model: { name: 'demo.gguf', fingerprint: 'f00' },
  system: 'Be brief.',
  messages: [
    { role: 'user', content: 'Hello' },
    { role: 'assistant', content: 'Hi', reasoning_content: '' },
  ],
  finished: { text: 'Hello Hi', tokens: 3 },
  text: { tokens: [1, 2, 3], computed: 2, prompts: [{ first: 0, end: 2 }] },
};

describe('saved chats', () => {
  const open = () => new SessionFolder(path.join(folder, 'sessions'));
  const fileOf = (name: string) => path.join(folder, 'sessions', `${name}.json`);

  test('come back as they were, the latest first, and are for their owner alone', () => {
    const sessions = open();
    expect(sessions.list()).toEqual([]);
    expect(() => sessions.find()).toThrow('no chat is saved yet');
    sessions.save('old', session);
    const later = { ...session, savedAt: '2026-03-01T10:00:00.001Z' };
    sessions.save('new-1.b', later);
    expect(sessions.load('old')).toEqual(session);
    expect(open().list()).toEqual([
      { name: 'new-1.b', session: later },
      { name: 'old', session },
    ]);
    expect(open().find()).toEqual({ name: 'new-1.b', session: later });
    expect(fs.statSync(fileOf('old')).mode & 0o777).toBe(0o600);
    expect(fs.readdirSync(path.dirname(fileOf('old')))).toHaveLength(2);
  });

  test.each(['', '../up', '.hidden', 'a/b', 'a b', 'x'.repeat(65)])('have no name %j', (name) => {
    expect(() => open().save(name, session)).toThrow(/is no name for a chat/);
    expect(() => open().load(name)).toThrow(/is no name for a chat/);
  });

  test.each([
    ['not JSON', '{'],
    ['of another version', JSON.stringify({ ...session, version: 2 })],
    [
      'with more turns than tokens',
      JSON.stringify({ ...session, finished: { text: '', tokens: 4 } }),
    ],
    ['with odd tokens', JSON.stringify({ ...session, text: { ...session.text, tokens: [-1] } })],
  ])('that are %s are told of, and left out', (_, content) => {
    const sessions = open();
    sessions.save('good', session);
    fs.writeFileSync(fileOf('bad'), content);
    expect(() => sessions.load('bad')).toThrow(
      /bad\.json is no saved chat, or of another version$/,
    );
    expect(() => sessions.load('none')).toThrow(/no saved chat "none"/);
    expect(sessions.list().map(({ name }) => name)).toEqual(['good']);
  });
});

describe('a chat', () => {
  const model = repositoryPath('models/demo.gguf');
  /** Starts one with a home folder. */
  async function start(home: string, ...args: readonly string[]): Promise<RunningCommand> {
    fs.mkdirSync(home, { recursive: true });
    const flags = ['-m', model, '--temperature', '0', '--max-tokens', '40'];
    const chat = new RunningCommand(['chat', ...flags, ...args], undefined, home);
    await chat.until(() => chat.stdout.includes('context 2048\n'));
    return chat;
  }

  /** What it says to a line: all that comes until the next remark. */
  async function say(
    chat: RunningCommand,
    line: string,
    end = ' prompt tokens reused',
  ): Promise<string> {
    const before = chat.stdout.length;
    chat.child.stdin?.write(`${line}\n`);
    await chat.until(() => chat.stdout.slice(before).includes(end));
    return chat.stdout.slice(before);
  }

  const answerOf = (said: string) => said.slice(0, said.indexOf('TTFT'));

  /** Files of pages, wherever the system keeps caches. */
  function pagesIn(home: string): number {
    const files = fs.readdirSync(home, { recursive: true }).map(String);
    return files.filter((file) => /\bkv.[0-9a-f]{64}.[0-9a-f]{64}$/.test(file)).length;
  }

  test('goes on after all processes were killed, as if they had not been', async () => {
    const split = ['--layers', '13,3', '--spawn'];
    const first = 'Tell me a story about a fox named Mia and a red kite. '.repeat(40);
    const second = 'Tell me a story about a dog.';
    await using whole = await start(path.join(folder, 'whole'), ...split, '--kv-disk', '0');
    const begin = answerOf(await say(whole, first));
    const expected = answerOf(await say(whole, second));
    expect(expected.length).toBeGreaterThan(40);

    const home = path.join(folder, 'killed');
    await using killed = await start(home, ...split);
    expect(answerOf(await say(killed, first))).toBe(begin);
    // Two pages of both stages.
    while (pagesIn(home) < 4) await new Promise((resolve) => setTimeout(resolve, 20));
    const pid = killed.child.pid as number;
    const workers = process.platform === 'linux' ? childrenOf(pid) : [];
    for (const each of [pid, ...workers]) process.kill(each, 'SIGKILL');
    await killed.ended;
    await using again = await start(home, ...split, '--resume');
    await again.until(() => again.stdout.includes('"last" goes on: 2 messages, saved 20'));
    const said = await say(again, second);
    expect(answerOf(said)).toBe(expected);
    const [, reused, all] = /(\d+) of (\d+) prompt tokens reused/.exec(said) ?? [];
    expect(Number(reused)).toBeGreaterThanOrEqual(512);
    // What is asked next, and a page.
    expect(Number(all) - Number(reused)).toBeLessThan(20 + 256);
  });

  test('is saved under a name, loaded, and listed', async () => {
    await using chat = await start(folder);
    await say(chat, 'What is 9 plus 5?');
    expect(await say(chat, '/save sums', '\n')).toBe('saved as "sums"\n');
    expect(await say(chat, '/save ../sums', '\n')).toMatch(/is no name for a chat/);
    await say(chat, '/reset', 'a new conversation\n');
    await say(chat, 'My name is Max.');
    const listed = await say(chat, '/sessions', 'demo.gguf\nsums');
    expect(listed).toMatch(/^last +20\S+ \d\d:\d\d UTC +2 messages +demo\.gguf\nsums/);
    expect(await say(chat, '/load nothing', '\n')).toMatch(/no saved chat "nothing"/);
    expect(await say(chat, '/load sums', '\n')).toMatch(/^"sums" goes on: 2 messages/);
    // What is asked next goes to the same file.
    await say(chat, 'What is 4 plus 4?');
    const after = await say(chat, '/sessions', 'demo.gguf\nlast');
    expect(after).toMatch(/^sums +20\S+ \d\d:\d\d UTC +4 messages +demo\.gguf\nlast/);
  });

  test('that is not there is told of before anything is loaded', async () => {
    const flags = ['chat', '-m', model, '--resume', 'nothing'];
    await using chat = new RunningCommand(flags, undefined, folder);
    const { code, stdout, stderr } = await chat.ended;
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toBe('daisychain: no saved chat "nothing": /sessions in a chat shows them\n');
  });
});
