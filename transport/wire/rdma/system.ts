import os from 'node:os';
import koffi, { type KoffiFunc } from 'koffi';
import { TransportError } from '../errors.js';
import type { Pointer } from './verbs.js';

const { errno: numbers } = os.constants;

let calls: ReturnType<typeof bind> | undefined;

/** What the C library is needed for, the same on Linux and macOS. */
function bind() {
  const library = koffi.load(process.platform === 'darwin' ? 'libSystem.dylib' : 'libc.so.6');
  return {
    alignedMemory: library.func(
      'int posix_memalign(_Out_ void** memory, size_t alignment, size_t bytes)',
    ) as KoffiFunc<(memory: [Pointer | null], alignment: number, bytes: number) => number>,
    free: library.func('void free(void*)') as KoffiFunc<(memory: Pointer) => void>,
  };
}

function system() {
  return (calls ??= bind());
}

/** Memory that begins at a page: nothing else shares its pages with it. */
export class PageMemory {
  /** Large enough for the pages of Apple silicon too. */
  static readonly alignment = 16384;

  private constructor(
    readonly address: Pointer,
    readonly bytes: Uint8Array,
  ) {}

  /** Zeroed. @throws TransportError 'rdma' when there is not so much */
  static allocate(size: number): PageMemory {
    const memory: [Pointer | null] = [null];
    const failure = system().alignedMemory(memory, PageMemory.alignment, size);
    if (failure !== 0 || memory[0] === null)
      throw new TransportError('rdma', `no memory for a buffer of ${size} bytes`);
    const bytes = new Uint8Array(koffi.view(memory[0], size));
    bytes.fill(0);
    return new PageMemory(memory[0], bytes);
  }

  /** Nobody may look at `bytes` afterwards. */
  free(): void {
    system().free(this.address);
  }
}

/** The name of an error number, such as EINVAL. */
export function errorName(number: number): string {
  const known = Object.entries(numbers).find(([, value]) => value === number);
  return known?.[0] ?? `error ${number}`;
}

/** The number of the last failure of a C function. */
export function lastError(): number {
  return koffi.errno();
}
