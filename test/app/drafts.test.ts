import pino from 'pino';
import { afterAll, describe, expect, test } from 'vitest';
import { Closers } from '../../app/closers.js';
import type { Prepared } from '../../app/prepare.js';
import type { Settings } from '../../app/settings/settings.js';
import { planSpeculation } from '../../app/speculation.js';
import { EngineError, type Engine, type Stage, type StageOptions } from '../../engine/engine.js';
import { openGguf } from '../../model/gguf/reader.js';
import { Turns } from '../../stage/turns.js';
import { repositoryPath } from '../support/golden.js';

const source = await openGguf(repositoryPath('models/demo.gguf'));
afterAll(() => source.close());

/** Loads stages that cannot compute, and counts those that are not freed. */
class BrokenEngine implements Pick<Engine, 'estimate' | 'load'> {
  readonly loads: StageOptions[] = [];
  held = 0;

  estimate() {
    return { weights: 100, kv: 20, compute: 3 };
  }

  load(options: StageOptions): Promise<Stage> {
    this.loads.push(options);
    this.held++;
    return Promise.resolve({
      forward: () => Promise.reject(new EngineError('compute', 'the device is gone')),
      dispose: () => void this.held--,
    } as Partial<Stage> as Stage);
  }
}

/** What is planned for some settings, with all that it says. */
async function plan(settings: Settings) {
  const engine = new BrokenEngine();
  const closers = new Closers();
  const warnings: string[] = [];
  const logger = pino(
    { level: 'warn' },
    { write: (line) => void warnings.push((JSON.parse(line) as { msg: string }).msg) },
  );
  const prepared = { settings, engine: engine as unknown as Engine, source, turns: new Turns() };
  const needs = { context: 512, conversations: 3 };
  const planned = await planSpeculation(prepared as Prepared, needs, closers, logger);
  const close = () => closers.close();
  return { planned, engine, warnings, [Symbol.asyncDispose]: close };
}

describe('a draft model', () => {
  const draft = repositoryPath('models/demo-draft.gguf');

  test('has its memory planned before anything is loaded, for all conversations', async () => {
    await using planning = await plan({ draft });
    const { planned, engine } = planning;
    expect(planned?.memoryBytes).toBe(123);
    expect(engine.loads).toEqual([]);
    await planned?.open();
    expect(engine.loads).toMatchObject([{ cells: 3 * 512, conversations: 3 }]);
  });

  test('that cannot compute costs a warning, and is freed', async () => {
    await using planning = await plan({ draft });
    const { planned, engine, warnings } = planning;
    expect(await planned?.open()).toBeUndefined();
    expect(engine.held).toBe(0);
    expect(warnings).toEqual(['going on without drafts: the device is gone']);
  });

  test('that is not there costs a warning', async () => {
    await using planning = await plan({ draft: '/nowhere/draft.gguf' });
    const { planned, engine, warnings } = planning;
    expect(planned).toBeUndefined();
    expect(engine.loads).toEqual([]);
    expect(warnings).toEqual([expect.stringMatching(/^going on without drafts: no such model/)]);
  });
});

test('n-grams take no memory', async () => {
  await using planning = await plan({ draft: 'ngram' });
  const { planned } = planning;
  expect(planned?.memoryBytes).toBe(0);
  expect(await planned?.open()).toMatchObject({ choice: 'auto', draftMs: 0 });
});

test.each([{}, { speculate: 'off' as const, draft: 'ngram' }])('%j is no drafts', async (given) => {
  expect((await plan(given)).planned).toBeUndefined();
});

test('a simulation is for measurements', async () => {
  await expect(plan({ draft: 'oracle:0.5' })).rejects.toThrow('use it with bench');
});
