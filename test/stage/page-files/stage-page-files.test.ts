import { describe, expect, test } from 'vitest';
import { PageStore } from '../../../stage/page-files/page-store.js';
import { StagePageFiles } from '../../../stage/page-files/stage-page-files.js';
import { Turns } from '../../../stage/turns.js';
import { pageCells } from '../../../step/pages.js';
import { DeterministicStage } from '../../support/deterministic-stage.js';
import { silent } from '../../support/silent.js';
import { temporaryFolder } from '../../worker/support/worker.js';

const identity = '1'.repeat(64);
const keyOf = (n: number) => n.toString(16).padStart(64, '0');
const pagesOf = (...pages: readonly number[]) => pages.map((page) => ({ key: keyOf(page), page }));

/** A stage whose every page is full of its number. */
async function filled(pages: number): Promise<DeterministicStage> {
  const stage = new DeterministicStage(true, () => Promise.resolve());
  for (let page = 0; page < pages; page++) await stage.pages.write(page, contentOf(page));
  return stage;
}

const contentOf = (page: number) =>
  new Uint8Array(new Int32Array(2 * pageCells).fill(page + 1).buffer);

async function open(pages = 4) {
  const folder = await temporaryFolder();
  const turns = new Turns();
  const store = new PageStore({ cacheDirectory: folder.path, limitBytes: 1e6, logger: silent });
  const stage = await filled(pages);
  let epoch = 1;
  const filesOf = (of: DeterministicStage, named = identity) =>
    new StagePageFiles(of.pages, { store, turns, identity: () => named, epoch: () => epoch });
  return {
    store,
    turns,
    stage,
    filesOf,
    files: filesOf(stage),
    beginEpoch: (next: number) => void (epoch = next),
    [Symbol.asyncDispose]: async () => {
      await store.written();
      await folder[Symbol.asyncDispose]();
    },
  };
}

describe('pages of a stage', () => {
  test('are read into the cells of another one of the same kind, wherever they are', async () => {
    await using opened = await open();
    const { store, files, filesOf } = opened;
    await files.keep(pagesOf(0, 1, 2));
    await store.written();
    const fresh = await filled(0);
    const restarted = filesOf(fresh);
    expect(await restarted.known([keyOf(0), keyOf(1), keyOf(2), keyOf(3)])).toBe(3);
    expect(await restarted.known([keyOf(3), keyOf(0)])).toBe(0);
    expect(
      await restarted.restore(1, [
        { key: keyOf(2), page: 7 },
        { key: keyOf(0), page: 2 },
      ]),
    ).toBe(2);
    expect(await fresh.pages.read(7)).toEqual(contentOf(2));
    expect(await fresh.pages.read(2)).toEqual(contentOf(0));
    expect(await filesOf(fresh, '2'.repeat(64)).known([keyOf(0)])).toBe(0);
  });

  test('are read as far as they are there', async () => {
    await using opened = await open();
    const { store, files } = opened;
    await files.keep(pagesOf(0, 2));
    await store.written();
    expect(await files.restore(1, pagesOf(0, 1, 2))).toBe(1);
    expect(await files.restore(1, [])).toBe(0);
    await expect(files.restore(1, [{ key: keyOf(0), page: 1e9 }])).rejects.toMatchObject({
      name: 'EngineError',
      code: 'step',
    });
  });

  test('are kept as they are then, and come back between steps', async () => {
    await using opened = await open();
    const { store, turns, files, stage } = opened;
    await files.keep(pagesOf(0));
    await stage.pages.write(0, contentOf(3));
    await store.written();
    let isComputing = true;
    const { pages } = stage;
    const write = pages.write.bind(pages);
    pages.write = (page, content) => {
      expect(isComputing).toBe(false);
      return write(page, content);
    };
    let endStep: () => void = () => undefined;
    const step = turns.take(() => new Promise<void>((resolve) => (endStep = resolve)));
    const restored = files.restore(1, [{ key: keyOf(0), page: 2 }]);
    // The file is read by then.
    for (let i = 0; i < 20; i++) await files.known([keyOf(0)]);
    isComputing = false;
    endStep();
    await step;
    expect(await restored).toBe(1);
    expect(await pages.read(2)).toEqual(contentOf(0));
  });

  test('are not read for another epoch, also when theirs ends while they wait', async () => {
    await using opened = await open();
    const { turns, files, beginEpoch } = opened;
    await files.keep(pagesOf(0));
    expect(await files.restore(2, pagesOf(0))).toBe(0);
    let endStep: () => void = () => undefined;
    const step = turns.take(() => new Promise<void>((resolve) => (endStep = resolve)));
    const restored = files.restore(1, pagesOf(0));
    beginEpoch(2);
    endStep();
    await step;
    expect(await restored).toBe(0);
    expect(await files.restore(2, pagesOf(0))).toBe(1);
  });

  test('are let go of when the stage is closed', async () => {
    await using opened = await open();
    const { turns, files, stage } = opened;
    const { pages } = stage;
    let finish: () => void = () => undefined;
    const write = pages.write.bind(pages);
    await files.keep(pagesOf(0, 1));
    pages.write = async (page, content) => {
      await new Promise<void>((resolve) => (finish = resolve));
      return write(page, content);
    };
    const restored = files.restore(1, pagesOf(0, 1));
    while (!turns.isTaken) await new Promise((resolve) => setTimeout(resolve, 1));
    let isClosed = false;
    const closed = files.close().then(() => (isClosed = true));
    await new Promise((resolve) => setImmediate(resolve));
    expect(isClosed).toBe(false);
    finish();
    await closed;
    expect(await restored).toBe(1);
  });
});
