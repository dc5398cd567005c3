import { codecNamed, codecNames } from '../transport/wire/codecs/codecs.js';

/** Prints what codecs cost: one decode row, and a prefill chunk. Run: node dist/bench/codecs.js */
const rowSize = 8192;
const chunkRows = 512;

const values = Float32Array.from({ length: chunkRows * rowSize }, (_, i) => Math.sin(i * 0.7) * 3);
const decoded = new Float32Array(values.length);

for (const name of codecNames) {
  const codec = codecNamed(name);
  const encoded = new Uint8Array(codec.encodedBytes(chunkRows, rowSize));
  const measure = (rows: number, rounds: number) => {
    const bytes = encoded.subarray(0, codec.encodedBytes(rows, rowSize));
    return {
      encodeUs: medianMicroseconds(rounds, () => codec.encode(values, rows, rowSize, bytes)),
      decodeUs: medianMicroseconds(rounds, () => codec.decode(bytes, rows, rowSize, decoded)),
    };
  };
  const row = measure(1, 5000);
  const chunk = measure(chunkRows, 15);
  const gigabytes = (us: number) => ((values.byteLength / us) * 1e-3).toFixed(2);
  console.log(
    `${name.padEnd(5)} row ${row.encodeUs.toFixed(1)} µs encode, ${row.decodeUs.toFixed(1)} µs decode;` +
      ` chunk ${gigabytes(chunk.encodeUs)} GB/s encode, ${gigabytes(chunk.decodeUs)} GB/s decode`,
  );
}

function medianMicroseconds(rounds: number, work: () => void): number {
  const times = Array.from({ length: rounds }, () => {
    const begin = performance.now();
    work();
    return (performance.now() - begin) * 1000;
  });
  return times.sort((a, b) => a - b)[rounds >> 1] ?? NaN;
}
