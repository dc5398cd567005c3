import { promisify } from 'node:util';
import type { TensorInfo, TensorSource } from '../../model/tensor-source.js';
import type { Ggml } from './bindings.js';
import { rowBlock, type PlacedTensor } from './placed-tensor.js';

/** Bytes that are read and handed to ggml at a time, so that loading needs little memory of its own. */
const chunkBytes = 8 << 20;

/** How tensors may be filled: anywhere, only in blocks of whole rows that get repacked, or only at once. */
type FillUnit = 'plain' | 'repacked' | 'whole';
const fillUnits: Readonly<Record<string, FillUnit>> = { CPU_REPACK: 'repacked', AMX: 'whole' };

/**
 * Reads a tensor's data into its memory.
 * @param onBytes told after every part; may throw, to give up
 * @throws ModelError when the source cannot be read
 */
export async function fillTensor(
  ggml: Ggml,
  source: TensorSource,
  placed: PlacedTensor,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const { tensor, pointer } = placed;
  const set = promisify(ggml.tensorSet.async);
  const unit = fillUnits[placed.buffer] ?? 'plain';
  const step =
    unit === 'whole' ? tensor.bytes : unit === 'plain' ? chunkBytes : rowBlockBytes(tensor);
  const chunk = new Uint8Array(Math.min(step, tensor.bytes));
  for (let offset = 0; offset < tensor.bytes; offset += chunk.byteLength) {
    const bytes = Math.min(chunk.byteLength, tensor.bytes - offset);
    const part = chunk.subarray(0, bytes);
    await source.read(tensor.name, offset, part);
    if (unit === 'repacked' && bytes < tensor.bytes) await setRowBlock(ggml, placed, offset, part);
    else await set(pointer, part, offset, bytes);
    onBytes(bytes);
  }
}

/** Repacking interleaves groups of 4 to 16 rows, so blocks of 64 rows can be repacked one by one. */
function rowBlockBytes(tensor: TensorInfo): number {
  const blockOfRows = rowBytes(tensor) * 64;
  return Math.max(1, Math.floor(chunkBytes / blockOfRows)) * blockOfRows;
}

/** Of a row of a matrix, or of one of several. */
function rowBytes({ bytes, shape: [, ...rows] }: TensorInfo): number {
  return bytes / rows.reduce((product, size) => product * size, 1);
}

/** A repacking buffer takes whole tensors only. */
async function setRowBlock(
  ggml: Ggml,
  placed: PlacedTensor,
  offset: number,
  part: Uint8Array,
): Promise<void> {
  const context = ggml.newContext(ggml.tensorOverhead() * 2);
  try {
    const rows = part.byteLength / rowBytes(placed.tensor);
    const block = rowBlock(ggml, context, placed, offset, rows);
    await promisify(ggml.tensorSet.async)(block, part, 0, part.byteLength);
  } finally {
    ggml.freeContext(context);
  }
}
