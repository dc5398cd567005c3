import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { readConfigFile } from '../../app/settings/config-file.js';
import { UsageError } from '../../app/errors.js';
import { settingsFrom } from '../../cli/options.js';
import { parseAddress } from '../../app/settings/kinds.js';
import { nameInFile, settingNames, settings } from '../../app/settings/settings.js';
import { repositoryPath } from '../support/golden.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'daisychain-settings-'));
afterAll(() => fs.rmSync(folder, { recursive: true }));

function configFile(content: string): string {
  const file = path.join(folder, 'cluster.yaml');
  fs.writeFileSync(file, content);
  return file;
}

function failureOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError);
    const { message } = error as Error;
    expect(message).not.toContain('\n');
    return message;
  }
  throw new Error('nothing was refused');
}

describe('flags', () => {
  test('become settings of the right types', () => {
    const flags = {
      model: 'x.gguf',
      layers: '13,3',
      workers: ['a:1', '[::1]:2'],
      temperature: '0.8',
      seed: '7',
      codec: 'fp8,f32',
      config: undefined,
    };
    expect(settingsFrom(flags)).toEqual({
      model: 'x.gguf',
      layers: [13, 3],
      workers: [
        { host: 'a', port: 1 },
        { host: '::1', port: 2 },
      ],
      temperature: 0.8,
      seed: 7,
      codec: ['fp8', 'f32'],
    });
  });

  test.each([
    [{ layers: '13,x' }, '--layers: expected layer counts like 13,3, not "13,x"'],
    [{ layers: '' }, '--layers: expected layer counts like 13,3, not ""'],
    [{ context: '1e99' }, '--context: expected a whole number from 16 to 16777216, not "1e99"'],
    [{ port: '-1' }, '--port: expected a whole number from 0 to 65535, not "-1"'],
    [{ topP: '1.5' }, '--top-p: expected a number from 0 to 1, not "1.5"'],
    [
      { cacheLimit: '20 apples' },
      '--cache-limit: expected a size like 500MB or 20GB, not "20 apples"',
    ],
    [{ codec: 'fp3' }, '--codec: expected one of '],
    [{ workers: ['a:0'] }, '--worker: expected HOST:PORT'],
    [{ spawn: true, workers: ['a'] }, 'give --spawn or --worker, not both'],
    [{ model: 'x', synthetic: 'llama-8b' }, 'give --model or --synthetic, not both'],
  ])('%j is refused', (flags, message) => {
    expect(failureOf(() => settingsFrom(flags))).toContain(message);
  });
});

describe('a config file', () => {
  test('takes every setting by the name of its flag', () => {
    for (const name of settingNames)
      expect(settings[name].flag).toContain(`--${nameInFile(name)} `.trimEnd());
    const file = configFile('kv-type: q8_0\nlayers: [13, 3]\nspawn: true\nworkers: a:1\n');
    expect(() => readConfigFile(file)).not.toThrow();
  });

  test('gives paths relative to itself', () => {
    const file = configFile('model: ../m.gguf\ncache-dir: /absolute\n');
    expect(readConfigFile(file)).toEqual({
      model: path.resolve(folder, '../m.gguf'),
      cacheDir: '/absolute',
    });
  });

  test.each([
    ['draft: d.gguf', 'd.gguf'],
    ['draft: /d.gguf', undefined],
    ['draft: ngram', undefined],
    ['draft: oracle:0.5', undefined],
  ])('knows what of a draft is a path: %s', (line, relative) => {
    const expected = relative ? path.join(folder, relative) : line.slice('draft: '.length);
    expect(readConfigFile(configFile(line))).toEqual({ draft: expected });
  });

  test('finds the draft model beside n-grams', () => {
    const found = readConfigFile(configFile('draft: ngram+d.gguf'));
    expect(found).toEqual({ draft: `ngram+${path.join(folder, 'd.gguf')}` });
  });

  test('yields to flags, also in the choice of workers', () => {
    const config = configFile('spawn: true\ncontext: 512\nmodel: a.gguf\n');
    expect(settingsFrom({ config, context: '1024', workers: ['b:1'] })).toEqual({
      model: path.join(folder, 'a.gguf'),
      context: 1024,
      workers: [{ host: 'b', port: 1 }],
    });
  });

  test.each([
    ['contxt: 5', 'unknown setting "contxt": did you mean "context"?'],
    ['wibble: 5', 'unknown setting "wibble": the settings are model,'],
    ['context: many', 'context: expected a whole number from 16 to 16777216, not "many"'],
    ['spawn: 1', 'spawn: expected true or false, not 1'],
    ['model:', 'model: expected a path, not nothing'],
    ['system: [a, b]', 'system: expected text, not ["a","b"]'],
    ['- model', 'expected lines like "model: models/demo.gguf"'],
    ['model: "x', 'not valid YAML: '],
    ['context: 512\ncontext: 1024', 'not valid YAML: '],
    ['spawn: true\nworkers: [a]', 'give --spawn or --worker, not both'],
  ])('%j is refused', (content, message) => {
    const config = configFile(content);
    const failure = failureOf(() => settingsFrom({ config }));
    expect(failure).toContain(message);
    if (!message.startsWith('give')) expect(failure.startsWith(`${config}: `)).toBe(true);
  });

  test('must be there', () => {
    const missing = path.join(folder, 'missing.yaml');
    expect(failureOf(() => readConfigFile(missing))).toBe(`no such config file: ${missing}`);
    expect(failureOf(() => readConfigFile(folder))).toContain('EISDIR');
  });

  test.each(['configs/local-demo.yaml', 'configs/two-macs.yaml'])('%s is valid', (name) => {
    expect(readConfigFile(repositoryPath(name)).model).toMatch(/\.gguf$/);
  });
});

test.each([
  ['20GB', 20e9],
  ['1.5 tb', 1.5e12],
  ['500MB', 500e6],
  ['0', 0],
  ['4096', 4096],
])('the size %s', (text, bytes) => {
  expect(settingsFrom({ cacheLimit: text })).toEqual({ cacheLimit: bytes });
  expect(readConfigFile(configFile(`cache-limit: ${text}`))).toEqual({ cacheLimit: bytes });
});

test.each([
  ['second:7071', { host: 'second', port: 7071 }],
  ['second', { host: 'second', port: 7070 }],
  ['10.0.0.2:1', { host: '10.0.0.2', port: 1 }],
  ['[fe80::1%en0]:9', { host: 'fe80::1%en0', port: 9 }],
  ['[::1]', { host: '::1', port: 7070 }],
  ['::1', undefined],
  ['fe80::1:7070', undefined],
  ['a:70000', undefined],
  ['a:', undefined],
  ['http://a:1', undefined],
  ['', undefined],
])('the address %s', (text, address) => {
  expect(parseAddress(text)).toEqual(address);
});
