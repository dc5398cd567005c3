import fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { root } from './support/golden.js';
import { circles, floors, importsAgainstFloors } from './support/house.js';
import { importsOf, readImports, type Imports } from './support/imports.js';

const repository = fileURLToPath(root);
const folders = fs
  .readdirSync(repository, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && floors.flat().includes(entry.name))
  .map(({ name }) => name);
const imports = readImports(repository, folders);

/** The house with another file in it. */
function withFile(file: string, content: string): Imports {
  return new Map([...imports, [file, importsOf(file, content)]]);
}

test('all imports are of files that are there', () => {
  const all = [...imports.values()].flat();
  expect(all.length).toBeGreaterThan(imports.size);
  expect(all.filter((file) => !imports.has(file))).toEqual([]);
});

test('every compiled folder has a floor', () => {
  const { include } = JSON.parse(fs.readFileSync(new URL('tsconfig.json', root), 'utf8')) as {
    include: string[];
  };
  expect([...include].sort()).toEqual([...folders].sort());
});

describe('no file imports from a floor above its own', () => {
  test('here', () => {
    expect(importsAgainstFloors(imports)).toEqual([]);
  });

  test.each([
    ['step/planted.ts', "import '../model/errors.js';"],
    ['model/planted.ts', "import type { Frame } from '../transport/wire/frames.js';"],
    ['transport/wire/planted.ts', "export * from '../../model/errors.js';"],
    ['speculative/planted.ts', "type Stage = import('../engine/engine.js').Stage;"],
    ['engine/ggml/planted.ts', "await import('../../stage/turns.js');"],
    ['coord/planted.ts', "import { Worker } from '../worker/worker.js';"],
    ['worker/planted.ts', "export { CoordinatorError } from '../coord/errors.js';"],
    ['app/planted.ts', "import { addSettings } from '../cli/options.js';"],
    ['bench/planted.ts', "import * as machine from '../cli/machine.js';"],
    ['cli/chat/planted.ts', "import { root } from '../../test/support/golden.js';"],
    ['transport/messages/planted.ts', "import '../wire/frames.js';"],
    ['transport/messages/planted.ts', "import '../protocol/handshake.js';"],
    ['transport/wire/planted.ts', "import type { Hello } from '../protocol/handshake.js';"],
  ])('nor would %s with %s pass', (file, content) => {
    const before = importsAgainstFloors(imports);
    const added = importsAgainstFloors(withFile(file, content)).filter(
      (line) => !before.includes(line),
    );
    expect(added).toHaveLength(1);
    expect(added[0]).toMatch(new RegExp(`^${file} → `));
  });

  test.each([
    ['transport/protocol/planted.ts', "import '../wire/frames.js';"],
    ['engine/ggml/planted.ts', "import '../../model/errors.js';"],
    ['coord/planted.ts', "import '../stage/turns.js';"],
    ['cli/planted.ts', "import '../bench/benchmark.js';"],
  ])('while %s with %s passes', (file, content) => {
    expect(importsAgainstFloors(withFile(file, content))).toEqual(importsAgainstFloors(imports));
  });

  test('nor is there a folder without a floor', () => {
    const odd = new Map([['cli/planted.ts', importsOf('cli/planted.ts', "import '../odd/a.js';")]]);
    expect(() => importsAgainstFloors(odd)).toThrow('odd/');
  });
});

describe('no files import each other in a circle', () => {
  test('here', () => {
    expect(circles(imports)).toEqual([]);
  });

  test.each([
    ['values', "import { b } from './b.js';", "export * from './a.js';"],
    ['types', "import type { B } from './b.js';", "type A = import('./a.js').A;"],
    ['both', "import { b } from './b.js';", "import { type A } from './a.js';"],
  ])('nor would one of %s pass', (_, a, b) => {
    const planted = new Map([
      ['app/a.ts', importsOf('app/a.ts', a)],
      ['app/b.ts', importsOf('app/b.ts', b)],
    ]);
    expect(circles(planted)).toEqual(['app/a.ts → app/b.ts → app/a.ts']);
  });

  test('nor a long one', () => {
    const planted = new Map([
      ['a', ['b', 'x']],
      ['b', ['c']],
      ['c', ['x', 'd']],
      ['d', ['b']],
      ['x', []],
    ]);
    expect(circles(planted)).toEqual(['b → c → d → b']);
  });
});
