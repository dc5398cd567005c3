import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { randomTokens } from '../../model/random-tokens.js';
import { complete, openTestCluster, type TestClusterOptions } from '../support/cluster.js';
import { keptLog } from '../worker/support/worker.js';

/** Two whole pages and some. */
const prompt = [...randomTokens(600, 200)];
const layers = [13, 3];

let folder: string;
let expected: readonly number[];

/** Files of pages, by the stages' folders. */
function filesIn(kv: string): string[][] {
  return fs
    .readdirSync(kv)
    .map((stage) => path.join(kv, stage))
    .map((stage) => fs.readdirSync(stage).map((file) => path.join(stage, file)))
    .map((files) => files.filter((file) => !file.endsWith('.part')).sort());
}

/** Continues the prompt on stages whose page files are in a folder. */
async function run(kv: string, pages: number, options: Partial<TestClusterOptions> = {}) {
  const cacheDirectory = fs.mkdtempSync(path.join(os.tmpdir(), 'daisychain-'));
  fs.symlinkSync(kv, path.join(cacheDirectory, 'kv'));
  const { logger, lines } = keptLog();
  await using cluster = await openTestCluster({
    ...{ layers, cacheDirectory, context: 1024, logger },
    ...options,
  });
  const { tokens, summary } = await complete(cluster.coordinator.conversation(), prompt, 24);
  const isWritten = () => filesIn(kv).flat().length >= pages;
  while (!isWritten()) await new Promise((resolve) => setTimeout(resolve, 10));
  // As a process does that is killed.
  cluster.workers.kill(0);
  return { tokens, reused: summary.reusedTokens, warnings: lines.filter(isOfPages) };
}

beforeAll(async () => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'daisychain-kv-'));
  const cold = await run(folder, 4);
  expect(cold).toMatchObject({ reused: 0, warnings: [] });
  expected = cold.tokens;
});
afterAll(() => fs.rmSync(folder, { recursive: true }));

describe('a text whose pages were kept', () => {
  test('goes on with them on new stages, as it would without', async () => {
    expect(filesIn(folder).map(({ length }) => length)).toEqual([2, 2]);
    const { tokens, reused, warnings } = await run(folder, 4);
    expect(tokens).toEqual(expected);
    expect(reused).toBe(512);
    expect(warnings).toEqual([]);
  });

  test('is another one behind another codec, or split, or without files', async () => {
    for (const options of [{ codec: 'fp8' }, { layers: [12, 4] }, { kvDisk: 0 }] as const) {
      const copy = copyOf(folder);
      const { tokens, reused } = await run(copy, 4, options);
      expect(reused).toBe(0);
      if (!('codec' in options)) expect(tokens).toEqual(expected);
      fs.rmSync(copy, { recursive: true });
    }
  });

  const damages: readonly [string, (file: string) => void][] = [
    ['cut short', (file) => fs.truncateSync(file, 1000)],
    [
      'flipped',
      (file) => {
        const content = fs.readFileSync(file);
        content[content.length >> 1]! ^= 1;
        fs.writeFileSync(file, content);
      },
    ],
    ['deleted', (file) => fs.rmSync(file)],
  ];

  test.each(damages)('is right when a file is %s on one stage', async (_, damage) => {
    for (const [stage, files] of filesIn(folder).entries()) {
      const copy = copyOf(folder);
      damage(filesIn(copy)[stage]?.[0] as string);
      const { tokens, reused, warnings } = await run(copy, files.length);
      expect(tokens).toEqual(expected);
      expect([0, 256]).toContain(reused);
      expect(warnings.length).toBeLessThanOrEqual(1);
      fs.rmSync(copy, { recursive: true });
    }
  });
});

const isOfPages = (line: string) => /computed again/.test(line);

function copyOf(kv: string): string {
  const copy = fs.mkdtempSync(path.join(os.tmpdir(), 'daisychain-kv-'));
  fs.cpSync(kv, copy, { recursive: true });
  return copy;
}
