import { addAttentionNode } from './graph/attention-node.js';
import { Graph } from './graph/graph.js';
import { segmentInput } from './graph/input-names.js';
import { cacheKinds, cellNames } from './graph/kv-names.js';
import { elementType } from './runtime/api.js';
import { fixed } from './runtime/fixed-arrays.js';
import { IoBinding } from './runtime/io-binding.js';
import { Session, type SessionOptions } from './runtime/session.js';

/** What was found, by size of heads: a process runs on one kind of processor. */
const found = new Map<number, Promise<number>>();

/** Larger heads are multiplied in pieces whose number depends on the window, so that no cut would help. */
const mostFeatures = 128;

/**
 * How many rows ONNX Runtime's attention to f32 takes at once. Where a last row is left over, it is multiplied by a kernel
 * for single rows, which rounds differently. The number depends on the processor's cache, and is at most twice the size of
 * heads.
 * @returns Infinity when a last row is like any other, and for heads of more than 128 features
 * @throws EngineError when that cannot be tried
 */
export function queryTile(options: SessionOptions, headSize: number): Promise<number> {
  if (headSize > mostFeatures) return Promise.resolve(Infinity);
  const tile = found.get(headSize) ?? findTile(options, headSize);
  found.set(headSize, tile);
  return tile;
}

/** The least number of rows behind which one more gets other bits than when yet another follows it. */
async function findTile(options: SessionOptions, headSize: number): Promise<number> {
  const most = 2 * headSize;
  const model = await attentionModel(headSize);
  await using session = await Session.open({ ...options, threads: 1 }, model, { folder: '' });
  const attend = attentionOf(session, headSize, most + 2);
  let bits = await attend(3);
  for (let tile = 2; tile <= most; tile++) {
    const last = bits.subarray(-4 * headSize);
    bits = await attend(tile + 2);
    if (!last.equals(bits.subarray(-8 * headSize, -4 * headSize))) return tile;
  }
  return Infinity;
}

/** What gives the bits of what so many rows attend to, f32 [rows, headSize], where they begin a text. */
function attentionOf(session: Session, headSize: number, mostRows: number) {
  const features = fixed.f32(mostRows * headSize).map((_, i) => Math.sin(i));
  const attended = fixed.f32(mostRows * headSize);
  const cells = cacheKinds.map((kind) => [cellNames(0, kind), fixed.f32(features.length)] as const);
  const [lastCell, seen] = [fixed.i32(1), fixed.i32(1)];
  const names = segmentInput(0);
  return async (rows: number): Promise<Buffer> => {
    lastCell[0] = rows - 1;
    seen[0] = rows;
    using binding = new IoBinding(session);
    binding.input('rows', features, [1, rows, headSize]);
    binding.input(names.lastCell, lastCell, [1]);
    binding.input(names.cells, seen, []);
    for (const [{ past, present }, numbers] of cells)
      binding.shared(past, present, numbers, 0, [1, 1, mostRows, headSize]);
    binding.output('attended', attended, [1, rows, headSize]);
    await binding.run();
    return Buffer.from(attended.slice(0, rows * headSize).buffer);
  };
}

/** One head's attention, with rows as queries, keys and values. */
function attentionModel(headSize: number): Promise<Uint8Array> {
  const { f32, i32 } = elementType;
  const graph = new Graph();
  const queries = graph.input('rows', f32, [1, 'n', headSize]);
  const { lastCell, cells: seen } = segmentInput(0);
  graph.input(lastCell, i32, [1]);
  graph.input(seen, i32, []);
  const names = cacheKinds.map((kind) => cellNames(0, kind));
  for (const { past, present } of names) {
    graph.input(past, f32, [1, 1, 'cells', headSize]);
    graph.output(present, f32, [1, 1, 'cells', headSize]);
  }
  graph.output('attended', f32, [1, 'n', headSize]);
  const past = names.map((name) => name.past);
  const rows = { queries, keys: queries, values: queries };
  const options = { heads: 1, kvHeads: 1, place: 0, cells: past };
  addAttentionNode(graph, rows, options, ['attended', ...names.map(({ present }) => present)]);
  return graph.encode();
}
