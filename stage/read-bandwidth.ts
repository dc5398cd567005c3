import { Worker } from 'node:worker_threads';
import type { Engine } from '../engine/engine.js';
import type { MemoryReading } from './read-memory.js';

const mebibyte = 2 ** 20;

/** The fastest counts: others were disturbed. */
const windows = 5;
const windowMs = 40;

/** More than caches hold: what a lone thread reads, and what all read together. */
const threadBytes = { least: 32 * mebibyte, most: 128 * mebibyte };
const togetherBytes = 512 * mebibyte;

let measured: Promise<number> | undefined;

/**
 * Bytes per second that as many threads as an engine has read from memory together, each from one end of a buffer of its
 * own to the other: what weights could be read at if computing cost nothing. Measured once in a process.
 * @returns 0 where the engine computes from other memory, such as a GPU's
 */
export function readBandwidth({
  device,
  threads,
}: Pick<Engine, 'device' | 'threads'>): Promise<number> {
  if (device.kind !== 'cpu') return Promise.resolve(0);
  return (measured ??= measure(threads));
}

async function measure(threads: number): Promise<number> {
  const { least, most } = threadBytes;
  const bytes = Math.max(least, Math.min(most, Math.ceil(togetherBytes / threads)));
  const ready = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  const reading: MemoryReading = { bytes, windows, windowMs, ready, threads };
  const rates = await Promise.all(Array.from({ length: threads }, () => readInThread(reading)));
  const together = Array.from({ length: windows }, (_, window) =>
    rates.reduce((sum, thread) => sum + (thread[window] ?? 0), 0),
  );
  return Math.max(...together);
}

function readInThread(reading: MemoryReading): Promise<number[]> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./read-memory.js', import.meta.url), {
      workerData: reading,
    });
    worker.once('message', resolve).once('error', reject);
  });
}
