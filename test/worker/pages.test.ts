import { afterEach, describe, expect, test } from 'vitest';
import { joinKeys } from '../../transport/protocol/page-keys.js';
import { readResult } from '../../transport/protocol/steps.js';
import { readKnownPages, readRestorePages } from '../../worker/requests.js';
import { cellsEach, segmentOf } from '../stage/support/segments.js';
import { choiceAfter } from '../support/deterministic-stage.js';
import { tinyModel, tinyShape } from '../support/tiny-model.js';
import { closeAll } from '../transport/support/sockets.js';
import { loadShardMessage, type TestCoordinator } from './support/coordinator.js';
import { ownEnd } from './support/own-end.js';
import { temporaryFolder, TestWorker } from './support/worker.js';

afterEach(closeAll);

const model = tinyModel('f32');
const whole = { firstLayer: 0, endLayer: 3, embedding: true, head: true };
const keys = ['a', 'b'].map((letter) => letter.repeat(64));
/** More than a page. */
const text = Array.from({ length: 300 }, (_, i) => i % 90);
/** A sequence whose cells begin with those of a page. */
const sequenceAt = (page: number) => (page * 256) / cellsEach;

/** A worker with the whole model as stage 1, and its coordinator. */
async function start(cacheDirectory: string, options: { kvDisk?: number } = {}) {
  const worker = await TestWorker.start({ model, cacheDirectory, ...options });
  const coordinator = await worker.connect();
  await coordinator.load(loadShardMessage(model, whole), model);
  coordinator.send('link', { stage: 1, epoch: 1 });
  await coordinator.next('linked');
  const own = ownEnd(tinyShape.hiddenSize);
  const address = { host: '127.0.0.1', port: worker.port, stage: 1, codec: 'f32' } as const;
  await own.link(1, address);
  return {
    coordinator,
    /** Has pages kept, each as that of the key of its number in the list. */
    keep: async (id: number, pages: readonly number[]): Promise<void> => {
      const keeps = pages.map((page, i) => ({ key: keys[i] as string, page }));
      await own.submit({ id, epoch: 1, segments: [], keeps });
      expect(await coordinator.next('result')).toMatchObject({ id, segments: [] });
    },
    [Symbol.asyncDispose]: () => worker[Symbol.asyncDispose](),
    /** The choice after the text, of which cells from a page on get what is computed from `first` on. */
    choice: async (id: number, first: number, page: number): Promise<number | undefined> => {
      const segments = [segmentOf(text, first, sequenceAt(page))];
      await own.submit({ id, epoch: 1, segments });
      const { results } = readResult(await coordinator.next('result'));
      return results[0]?.choices.at(-1);
    },
  };
}

let request = 0;
async function restore(
  coordinator: TestCoordinator,
  pages: readonly number[],
  { epoch = 1, stage = 1 } = {},
): Promise<number> {
  const body = { request: ++request, stage, epoch, keys: joinKeys(keys.slice(0, pages.length)) };
  coordinator.send('restorePages', { ...body, pages });
  const { count, ...ids } = await coordinator.next('pageCount');
  expect(ids).toEqual({ request, stage });
  return count;
}

async function known(coordinator: TestCoordinator): Promise<number> {
  coordinator.send('knownPages', { request: ++request, stage: 1, keys: joinKeys(keys) });
  return (await coordinator.next('pageCount')).count;
}

describe('a worker that is started again', () => {
  test('has its pages, and goes on with the text in other cells', async () => {
    await using folder = await temporaryFolder();
    {
      await using started = await start(folder.path);
      const { coordinator, choice, keep } = started;
      expect(await choice(1, 0, 1)).toBe(choiceAfter(text, 1));
      expect(await known(coordinator)).toBe(0);
      await keep(2, [1]);
    }
    await using started = await start(folder.path);
    const { coordinator, choice } = started;
    expect(await known(coordinator)).toBe(1);
    expect(await restore(coordinator, [3, 4])).toBe(1);
    expect(await choice(1, 256, 3)).toBe(choiceAfter(text, 1));
    // Without them it would be another text.
    expect(await choice(2, 256, 5)).not.toBe(choiceAfter(text, 1));
  });

  test('has none that it was told not to keep', async () => {
    await using folder = await temporaryFolder();
    for (const kvDisk of [0, 1e6]) {
      await using started = await start(folder.path, { kvDisk });
      const { coordinator, choice, keep } = started;
      await choice(1, 0, 1);
      await keep(2, [1]);
      expect(await restore(coordinator, [1])).toBe(kvDisk === 0 ? 0 : 1);
    }
  });
});

describe('a request for pages', () => {
  test('of a stage, an epoch or a page that is not there is answered, and does nothing', async () => {
    await using folder = await temporaryFolder();
    await using started = await start(folder.path);
    const { coordinator, keep } = started;
    await keep(1, [1]);
    expect(await restore(coordinator, [1], { stage: 7 })).toBe(0);
    expect(await restore(coordinator, [1], { epoch: 2 })).toBe(0);
    expect(await restore(coordinator, [2 ** 32 - 1])).toBe(0);
    expect(await restore(coordinator, [1])).toBe(1);
    expect(await restore(coordinator, [])).toBe(0);
  });

  const body = { request: 1, stage: 1, epoch: 1, keys: joinKeys(keys), pages: [1, 2] };

  test('is read as it is meant', () => {
    const pages = keys.map((key, i) => ({ key, page: i + 1 }));
    expect(readRestorePages(body)).toEqual({ request: 1, stage: 1, epoch: 1, pages });
    expect(readKnownPages(body)).toEqual({ request: 1, stage: 1, keys });
  });

  test.each([
    ['keys', new Uint8Array(63)],
    ['keys', new Uint8Array(32)],
    ['keys', new Uint8Array(32 * 1025)],
    ['keys', undefined],
    ['pages', [1]],
    ['pages', [-1, 0]],
    ['pages', [0.5, 2 ** 32]],
    ['epoch', -1],
    ['stage', NaN],
    ['request', 2 ** 32],
  ])('is refused with odd %s: %s', (name, value) => {
    const odd = { ...body, [name]: value };
    expect(() => readRestorePages(odd)).toThrow(expect.objectContaining({ code: 'message' }));
  });

  test('that makes no sense ends the session, and nothing else', async () => {
    await using worker = await TestWorker.start({ model });
    const coordinator = await worker.connect();
    coordinator.send('restorePages', { ...body, pages: [1] });
    expect((await coordinator.control.closed).message).toContain('has not a key for every page');
    await worker.untilFree();
    await worker.connect();
  });
});
