import type { StagePages } from '../../engine/engine.js';
import type { KeyedPage } from '../../step/pages.js';
import type { Turns } from '../turns.js';
import type { PageStore } from './page-store.js';

export interface StagePageFilesOptions {
  readonly store: PageStore;
  /** Of the device that the stage is loaded on: pages are written between steps. */
  readonly turns: Turns;
  /** All that the bytes of a page depend on besides its text, now: 64 hex digits. */
  readonly identity: () => string;
  /** The epoch whose keys and values are in the cells now. */
  readonly epoch: () => number;
}

/** The keys and values of one stage's pages, on their way to files and back. */
export class StagePageFiles {
  #isClosed = false;
  /** What is done with the stage now. */
  #using: Promise<unknown> | undefined;

  constructor(
    private readonly pages: StagePages,
    private readonly options: StagePageFilesOptions,
  ) {}

  /**
   * Keeps pages as they are now, in the stage's turn: files are written behind the steps' back. What finds no room to wait
   * for the disk is not kept.
   * @throws EngineError for a page that is not there
   */
  async keep(pages: readonly KeyedPage[]): Promise<void> {
    for (const { key, page } of pages)
      await this.options.store.keep(this.#name(key), this.pages.bytes, () => this.pages.read(page));
  }

  /** How many leading ones of some pages are in files, to all appearances. */
  async known(keys: readonly string[]): Promise<number> {
    for (const [i, key] of keys.entries())
      if (!(await this.options.store.has(this.#name(key), this.pages.bytes))) return i;
    return keys.length;
  }

  /**
   * Reads pages from files into cells that nobody uses.
   * @param epoch of the route that will use them
   * @returns how many leading ones are as they were; of the others, cells may hold anything
   * @throws EngineError for a page that is not there
   */
  async restore(epoch: number, pages: readonly KeyedPage[]): Promise<number> {
    const read = (at: number) => {
      const page = pages[at];
      return page && this.options.store.read(this.#name(page.key), this.pages.bytes);
    };
    let next = read(0);
    for (const [i, { page }] of pages.entries()) {
      const data = await next;
      if (!data) return i;
      // The next file is read while this one's turn comes.
      next = read(i + 1);
      const isWritten = await this.#between(epoch, async () => {
        await this.pages.write(page, data);
        return true;
      });
      if (!isWritten) return i;
    }
    return pages.length;
  }

  /** From now on the stage is not used; resolves when it may be disposed of. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#using?.catch(() => undefined);
  }

  /** Uses the stage between steps, unless it is too late. */
  async #between<Result>(epoch: number, use: () => Promise<Result>): Promise<Result | undefined> {
    return this.options.turns.take(async () => {
      if (this.#isClosed || epoch !== this.options.epoch()) return undefined;
      const using = use();
      this.#using = using;
      return using;
    });
  }

  #name(key: string) {
    return { identity: this.options.identity(), key };
  }
}
