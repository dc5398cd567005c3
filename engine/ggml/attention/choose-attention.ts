import { EngineError, type KvType } from '../../engine.js';
import type { Backend } from '../backend.js';
import { tensorType, type Ggml, type Pointer } from '../bindings.js';
import { equalBits } from '../product-rules.js';
import { SmallGraph } from '../small-graph.js';
import { TensorArena } from '../tensor-arena.js';
import { f16NegativeInfinity } from './mask-writer.js';
import { FlashAttention } from './flash-attention.js';
import { ProductAttention } from './product-attention.js';
import type { AttentionPiece, AttentionWay, CellAttention } from './attention.js';

/** Whether products give every row its bits, by what was tried, kept for all stages of an engine. */
export type KnownAttention = Map<string, boolean>;

/** What is attended, and how it is kept. */
export interface KeptAttention {
  readonly attention: CellAttention;
  readonly kvType: KvType;
  readonly cells: number;
}

/**
 * Products on a CPU where every row gets from them the bits that it gets alone; otherwise flash attention.
 * @throws EngineError 'unsupported' when the type of keys and values does not fit the heads; 'memory', 'compute'
 */
export async function chooseAttention(
  ggml: Ggml,
  backend: Backend,
  kept: KeptAttention,
  known: KnownAttention,
): Promise<AttentionWay> {
  const { attention, kvType, cells } = kept;
  const { keySize, valueSize } = attention;
  const type = tensorType[kvType];
  const block = ggml.blockSize(type);
  if (keySize % block !== 0 || valueSize % block !== 0)
    throw new EngineError(
      'unsupported',
      `KV type ${kvType} needs a head size that is a multiple of ${block}, this model's is ${keySize}: use --kv-type f16`,
    );
  if (backend.device.kind === 'cpu') {
    const key = `${JSON.stringify(attention)} ${kvType}`;
    let keepsBits = known.get(key);
    if (keepsBits === undefined)
      known.set(key, (keepsBits = await productsKeepBits(ggml, backend, attention, type)));
    if (keepsBits) return new ProductAttention(ggml, type, cells);
  }
  return new FlashAttention(ggml, type, cells);
}

/** Cells that are seen when it is tried, and windows around them. */
const seen = 100;
const windows = [128, 192];

/** Rows of segments that are tried: those of a list are to get the same bits. */
const tried = [
  [63, 33, 17, 16, 15, 8, 5, 3, 2, 1],
  [128, 100, 65, 64],
];
const mostTried = Math.max(...tried.flat());

/** Whether rows get the same bits whatever the rows of their segment and the length of the window. */
async function productsKeepBits(
  ggml: Ggml,
  backend: Backend,
  attention: CellAttention,
  type: number,
): Promise<boolean> {
  const { heads, kvHeads, keySize, valueSize } = attention;
  const way = new ProductAttention(ggml, type, Math.max(...windows));
  using arena = new TensorArena(ggml, backend.device.bufferType, 3 + windows.length);
  const cache = way.describe(arena.context, attention);
  const cells = ggml.newTensor1d(arena.context, tensorType.i64, seen);
  const masks = windows.map((length) =>
    ggml.newTensor2d(arena.context, tensorType.f16, length, mostTried),
  );
  arena.allocate('trial of attention');
  set(
    ggml,
    cells,
    BigInt64Array.from({ length: seen }, (_, i) => BigInt(i)),
  );
  for (const [i, length] of windows.entries())
    set(
      ggml,
      masks[i]!,
      Uint16Array.from({ length: length * mostTried }, (_, j) =>
        j % length < seen ? 0 : f16NegativeInfinity,
      ),
    );
  for (const tensor of [cache.keys, ...(cache.values === undefined ? [] : [cache.values])])
    ggml.tensorFill(tensor, 0, 0, ggml.tensorBytes(tensor));
  await storeSome();

  const width = heads * keySize;
  const queries = madeUp(mostTried * width);
  for (const alike of tried) {
    let expected: Float32Array | undefined;
    for (const rows of alike)
      for (const window of windows.keys()) {
        const given = await attend(rows, window);
        expected ??= given;
        if (!equalBits(given, expected.subarray(0, given.length))) return false;
      }
  }
  return true;

  async function storeSome(): Promise<void> {
    const [keyCount, valueCount] = [seen * kvHeads * keySize, seen * kvHeads * valueSize];
    using graph = new SmallGraph(ggml, backend.device, (context, graph) => {
      const input = ggml.newTensor1d(context, tensorType.f32, keyCount + valueCount);
      const part = (size: number, offset: number) =>
        ggml.view3d(
          context,
          input,
          size,
          kvHeads,
          seen,
          size * f32Bytes,
          size * kvHeads * f32Bytes,
          offset * f32Bytes,
        );
      const values = attention.isLatent ? undefined : part(valueSize, keyCount);
      way.store({ context, graph }, cache, part(keySize, 0), values, cells);
      return { input, result: input };
    });
    graph.setInput(madeUp(keyCount + valueCount));
    await backend.compute(graph.graph);
  }

  async function attend(rows: number, window: number): Promise<Float32Array> {
    const shape = {
      rows,
      tiles: [0, rows >= 64 ? rows : 0],
      windowStart: 0,
      windowLength: windows[window]!,
    } as const;
    const [piece] = way.pieces(attention, shape) as [AttentionPiece];
    const masked = { ...piece, mask: masks[window]! };
    using graph = new SmallGraph(ggml, backend.device, (context) => {
      const input = ggml.newTensor3d(context, tensorType.f32, keySize, heads, rows);
      return { input, result: way.attend(context, attention, cache, input, masked) };
    });
    graph.setInput(queries.subarray(0, rows * width));
    await backend.compute(graph.graph);
    const result = new Float32Array(rows * heads * valueSize);
    graph.getResult(result);
    return result;
  }
}

const f32Bytes = Float32Array.BYTES_PER_ELEMENT;

/** Many numbers would hold up the event loop, so they repeat after a prime. */
const differentNumbers = 65_537;

function madeUp(count: number): Float32Array {
  const different = Math.min(count, differentNumbers);
  const pattern = Float32Array.from({ length: different }, (_, i) => Math.sin(i * i));
  const all = new Float32Array(count);
  for (let at = 0; at < count; at += different) all.set(pattern.subarray(0, count - at), at);
  return all;
}

function set(ggml: Ggml, tensor: Pointer, values: ArrayBufferView): void {
  ggml.tensorSet(tensor, values, 0, values.byteLength);
}
