import { parentPort, workerData } from 'node:worker_threads';

/** What one of several threads is to read. */
export interface MemoryReading {
  readonly bytes: number;
  /** Times that are measured one after the other. */
  readonly windows: number;
  readonly windowMs: number;
  /** One i32: how many threads have their buffers. */
  readonly ready: SharedArrayBuffer;
  /** That begin together. */
  readonly threads: number;
}

/** A thread that says how many bytes per second it read in each window; see `readBandwidth`. */
const { bytes, windows, windowMs, ready, threads } = workerData as MemoryReading;
// Pages that nobody has written to are all the same one, which caches hold.
const buffer = Buffer.alloc(bytes, 1);
const count = new Int32Array(ready);
Atomics.add(count, 0, 1);
Atomics.notify(count, 0);
for (;;) {
  const there = Atomics.load(count, 0);
  if (there >= threads) break;
  Atomics.wait(count, 0, there);
}
parentPort?.postMessage(Array.from({ length: windows }, readWindow));

function readWindow(): number {
  const begin = performance.now();
  let passes = 0;
  let elapsedMs: number;
  do {
    // The C library's search for one byte does nothing but read.
    buffer.includes(2);
    passes++;
    elapsedMs = performance.now() - begin;
  } while (elapsedMs < windowMs);
  return (passes * bytes * 1000) / elapsedMs;
}
