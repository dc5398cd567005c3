import { execFile } from 'node:child_process';
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { checkModel } from '../../model/architectures/check-model.js';
import { ModelError } from '../../model/errors.js';
import { openGguf } from '../../model/gguf/reader.js';
import { repositoryPath } from '../support/golden.js';
import { soundFiles, writeDamaged, type SoundFile } from './support/mutated-headers.js';
import type { UseReport } from './support/use-damaged.js';

let folder: string;
let sounds: SoundFile[];
beforeAll(async () => {
  folder = await fs.mkdtemp(path.join(os.tmpdir(), 'daisychain-'));
  sounds = await soundFiles(folder);
});
afterAll(() => fs.rm(folder, { recursive: true }));

async function isInOrder(file: string): Promise<boolean> {
  try {
    const source = await openGguf(file);
    try {
      checkModel(source);
      return true;
    } finally {
      await source.close();
    }
  } catch (error) {
    expect(error).toBeInstanceOf(ModelError);
    expect((error as Error).message).toMatch(/^\P{Cc}{1,500}$/u);
    return false;
  }
}

test('2,000 damaged headers are read, or refused in one line', async () => {
  const file = path.join(folder, 'damaged.gguf');
  for (const { header, bytes } of sounds) {
    await fs.writeFile(file, header);
    await fs.truncate(file, bytes);
    expect(await isInOrder(file)).toBe(true);
  }
  let inOrder = 0;
  const before = process.resourceUsage().maxRSS;
  for (let seed = 0; seed < 2000; seed++) {
    await writeDamaged(file, sounds, seed);
    if (await isInOrder(file)) inOrder++;
  }
  expect(inOrder).toBeGreaterThan(100);
  expect(inOrder).toBeLessThan(1000);
  // Kilobytes: no claim of a file makes room for more than it has.
  expect(process.resourceUsage().maxRSS - before).toBeLessThan(200_000);
});

test('no process ends over what is in order', async () => {
  const program = repositoryPath('dist/test/model/support/use-damaged.js');
  const run = promisify(execFile)(process.execPath, [program, folder, '1000']);
  const { stdout } = await run.catch(async (error: Error) => {
    const seed = await fs.readFile(path.join(folder, 'seed'), 'utf8');
    throw new Error(`the process ended over seed ${seed}`, { cause: error });
  });
  const report = JSON.parse(stdout) as UseReport;
  expect(report.computed).toBeGreaterThan(100);
  expect(report.tokenized).toBeGreaterThan(100);
  expect(report.grownBytes).toBeLessThan(50e6);
});
