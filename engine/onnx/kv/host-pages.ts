import { setImmediate } from 'node:timers/promises';
import { pageCells, type PageCopy } from '../../../step/pages.js';
import type { StagePages } from '../../engine.js';
import { cacheKinds } from '../graph/kv-names.js';
import type { HostKv } from './host-kv.js';

/** A head's cells of a page. */
interface Strip {
  /** Of a layer's keys, or its values. */
  readonly numbers: Float32Array | Int8Array;
  /** Index of the first number of page 0. */
  readonly start: number;
  /** Numbers of a page. */
  readonly length: number;
}

/** Moves keys and values in whole pages, of all layers. */
export class HostPages implements StagePages {
  readonly bytes: number;
  readonly #strips: readonly Strip[];

  constructor(kv: HostKv) {
    this.#strips = [...kv.heads].flatMap(([index, { kvHeads, headSize }]) =>
      cacheKinds.flatMap((kind) =>
        Array.from({ length: kvHeads }, (_, head) => ({
          numbers: kv.layer(index)[kind].numbers,
          start: head * kv.cells * headSize,
          length: pageCells * headSize,
        })),
      ),
    );
    this.bytes = this.#strips.reduce(
      (sum, { numbers, length }) => sum + length * numbers.BYTES_PER_ELEMENT,
      0,
    );
  }

  /** One page in a turn of the event loop. */
  async copy(copies: readonly PageCopy[]): Promise<void> {
    for (const { from, to, count } of copies)
      for (let i = 0; i < count; i++) {
        for (const { numbers, start, length } of this.#strips) {
          const at = start + (from + i) * length;
          numbers.copyWithin(start + (to + i) * length, at, at + length);
        }
        await setImmediate();
      }
  }

  read(page: number): Promise<Uint8Array> {
    const content = new Uint8Array(this.bytes);
    let at = 0;
    for (const strip of this.#strips) {
      const part = bytesOf(strip, page);
      content.set(part, at);
      at += part.length;
    }
    return Promise.resolve(content);
  }

  write(page: number, content: Uint8Array): Promise<void> {
    let at = 0;
    for (const strip of this.#strips) {
      const part = bytesOf(strip, page);
      part.set(content.subarray(at, (at += part.length)));
    }
    return Promise.resolve();
  }
}

function bytesOf({ numbers, start, length }: Strip, page: number): Uint8Array {
  const { buffer, byteOffset, BYTES_PER_ELEMENT } = numbers;
  const first = byteOffset + (start + page * length) * BYTES_PER_ELEMENT;
  return new Uint8Array(buffer, first, length * BYTES_PER_ELEMENT);
}
