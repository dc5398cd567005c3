import fs from 'node:fs';
import { promisify } from 'node:util';
import koffi, { type KoffiFunc } from 'koffi';
import '../../../model/native/call-stack.js';
import { EngineError } from '../../engine.js';
import type { Pointer } from './api.js';

/** How a system maps files. */
interface Mapper {
  /** @returns the address, or undefined when the system refuses */
  map(file: string, bytes: number): Pointer | undefined;
  forget(address: Pointer, bytes: number): Promise<void>;
  unmap(address: Pointer, bytes: number): void;
}

let mapper: Mapper | undefined;

/** A file that is read where it is, without a copy in the process's memory. */
export class MappedFile implements Disposable {
  readonly address: Pointer;
  readonly bytes: number;

  /** @throws EngineError 'memory' when it cannot be mapped */
  constructor(file: string) {
    mapper ??= process.platform === 'win32' ? windowsMapper() : posixMapper();
    this.bytes = fs.statSync(file).size;
    const address = mapper.map(file, this.bytes);
    if (address === undefined) throw new EngineError('memory', `cannot map ${file} into memory`);
    this.address = address;
  }

  /** Gives back memory that holds parts of the file; they are read again when they are needed. */
  async forget(): Promise<void> {
    await mapper?.forget(this.address, this.bytes);
  }

  [Symbol.dispose](): void {
    mapper?.unmap(this.address, this.bytes);
  }
}

function posixMapper(): Mapper {
  const [read, isPrivate, notNeeded] = [1, 2, 4];
  const failed = 0xffff_ffff_ffff_ffffn;
  const library = koffi.load(null);
  const mmap = library.func('void* mmap(void*, size_t, int, int, int fd, int64 offset)') as (
    ...values: [address: null, bytes: number, access: number, how: number, fd: number, at: number]
  ) => Pointer;
  const madvise = library.func('int madvise(void*, size_t, int advice)') as KoffiFunc<
    (address: Pointer, bytes: number, advice: number) => number
  >;
  const advise = promisify(madvise.async);
  const munmap = library.func('int munmap(void*, size_t)');
  return {
    map(file, bytes) {
      const descriptor = fs.openSync(file, 'r');
      try {
        const address = mmap(null, bytes, read, isPrivate, descriptor, 0);
        return address === failed ? undefined : address;
      } finally {
        fs.closeSync(descriptor);
      }
    },
    forget: async (address, bytes) => void (await advise(address, bytes, notNeeded)),
    unmap: (address, bytes) => void munmap(address, bytes),
  };
}

function windowsMapper(): Mapper {
  const [genericRead, shareAll, openExisting, readOnly, mapRead] = [0x8000_0000, 7, 3, 2, 4];
  const invalid = 0xffff_ffff_ffff_ffffn;
  const library = koffi.load('kernel32.dll');
  const open = library.func(
    'void* CreateFileW(const char16_t*, uint32, uint32, void*, uint32, uint32, void*)',
  ) as (...values: unknown[]) => Pointer;
  const newMapping = library.func(
    'void* CreateFileMappingW(void* file, void*, uint32, uint32, uint32, void* name)',
  ) as (...values: unknown[]) => Pointer | null;
  const view = library.func('void* MapViewOfFile(void*, uint32, uint32, uint32, size_t)') as (
    ...values: unknown[]
  ) => Pointer | null;
  const unmap = library.func('int UnmapViewOfFile(void*)');
  const close = library.func('int CloseHandle(void*)');
  return {
    map(file) {
      const handle = open(file, genericRead, shareAll, null, openExisting, 0, null);
      if (handle === invalid) return undefined;
      const mapping = newMapping(handle, null, readOnly, 0, 0, null);
      // A view keeps what it needs of both.
      const address = mapping && view(mapping, mapRead, 0, 0, 0);
      if (mapping) close(mapping);
      close(handle);
      return address ?? undefined;
    },
    // Windows takes pages back as it needs them.
    forget: () => Promise.resolve(),
    unmap: (address) => void unmap(address),
  };
}
