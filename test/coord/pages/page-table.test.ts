import { expect, test } from 'vitest';
import type { Extent } from '../../../coord/pages/extent.js';
import { PageTable } from '../../../coord/pages/page-table.js';
import type { PageCopy } from '../../../step/pages.js';
import { Random } from '../../support/random.js';

const pages = 60;

/** What every page holds: the text, and which page of it. */
class Memory {
  readonly #held = new Array<string>(pages).fill('');

  write(name: string, { start, pages: count }: Extent, from = 0): void {
    for (let i = from; i < count; i++) this.#held[start + i] = `${name}.${i}`;
  }

  copy({ from, to, count }: PageCopy): void {
    expect(Math.abs(from - to)).toBeGreaterThanOrEqual(count);
    for (let i = 0; i < count; i++) this.#held[to + i] = this.#held[from + i] as string;
  }

  has(name: string, { start, pages: count }: Extent): boolean {
    const held = this.#held.slice(start, start + count);
    return held.length === count && held.every((page, i) => page === `${name}.${i}`);
  }
}

function newExtent(): Extent {
  return { start: 0, pages: 0, idleSince: undefined };
}

test('whatever comes and goes, every text keeps its pages, and nobody has those of another', () => {
  let moves = 0;
  for (let seed = 0; seed < 20; seed++) {
    const random = new Random(seed);
    const table = new PageTable(pages);
    const memory = new Memory();
    const texts = new Map<string, Extent>();
    let time = 0;
    for (let step = 0; step < 200; step++) {
      const named = [...texts][random.between(0, texts.size)] ?? [`${step}`, newExtent()];
      const [name, extent] = named;
      const action = random.between(0, 9);
      if (action === 0) {
        table.release(extent);
        texts.delete(name);
      } else if (action < 3) extent.idleSince = ++time;
      else {
        extent.idleSince = undefined;
        texts.set(name, extent);
        const wanted = Math.max(1, extent.pages + random.between(-2, action === 9 ? 20 : 3));
        const before = [...texts.values()].map((each) => ({ ...each }));
        const had = extent.pages;
        const copies = table.resize(extent, wanted);
        const inUse = [...texts.values()].filter(({ idleSince }) => idleSince === undefined);
        const othersNeed = inUse.reduce((sum, { pages: held }) => sum + held, 0) - extent.pages;
        if (!copies) {
          // It is refused only where texts in use are in the way, and then nothing has changed.
          expect(othersNeed + wanted).toBeGreaterThan(pages);
          expect([...texts.values()]).toEqual(before);
        } else {
          moves += copies.length;
          for (const copy of copies) memory.copy(copy);
          memory.write(name, extent, had);
          expect(extent.pages).toBe(wanted);
        }
      }
      for (const [other, held] of texts) {
        if (held.pages === 0) texts.delete(other);
      }
      expect([...texts].filter(([other, held]) => !memory.has(other, held))).toEqual([]);
      const sum = [...texts.values()].reduce((total, held) => total + held.pages, 0);
      expect(table.taken).toBe(sum);
    }
  }
  expect(moves).toBeGreaterThan(100);
});

test('texts that begin far from each other grow without being moved', () => {
  const table = new PageTable(64);
  const extents = Array.from({ length: 4 }, newExtent);
  let copies = 0;
  for (let size = 1; size <= 8; size++)
    for (const extent of extents) copies += table.resize(extent, size)?.length ?? Infinity;
  expect(copies).toBe(0);
});

test('equal texts may fill all pages', () => {
  const table = new PageTable(64);
  const extents = Array.from({ length: 4 }, newExtent);
  for (let size = 1; size <= 16; size++)
    for (const extent of extents) expect(table.resize(extent, size)).toBeDefined();
  expect(table.taken).toBe(64);
});

test('idle texts lose what is missed least: old ones before new ones, and their ends', () => {
  const table = new PageTable(10);
  const [old, recent, fresh] = [newExtent(), newExtent(), newExtent()];
  table.resize(old, 5);
  old.idleSince = 1;
  table.resize(recent, 5);
  recent.idleSince = 9;
  expect(table.resize(fresh, 2)).toEqual([]);
  expect([old.pages, recent.pages]).toEqual([3, 5]);
  expect(fresh.start).toBe(3);
});
