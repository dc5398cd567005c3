import { EngineError, type KvType } from '../../engine.js';
import type { Provider } from '../providers.js';

/** How keys and values are kept: as f32, or as whole numbers with a scale for every channel of a layer. */
export type KvStorage = 'f32' | 'int8';

/** Bytes of one number of a key or a value. */
export const storageBytes: Readonly<Record<KvStorage, number>> = { f32: 4, int8: 1 };

/** What serves for a type, where anything does: what is as good as f16, and what takes as little memory as q8_0. */
const storages: Partial<Record<KvType, KvStorage>> = { f16: 'f32', q8_0: 'int8' };

/** Bytes of one number with what serves for a type. */
export function estimatedBytes(kvType: KvType): number {
  return storageBytes[storages[kvType] ?? 'f32'];
}

/** @throws EngineError when nothing serves for the type */
export function storageFor(kvType: KvType, { kind, name }: Provider): KvStorage {
  const storage = storages[kvType];
  if (storage === undefined)
    throw new EngineError(
      'unsupported',
      `onnx keeps keys and values as f32 or in 8 bits, not as ${kvType}: use --kv-type q8_0, or --engine ggml`,
    );
  if (storage === 'int8' && kind !== 'cpu')
    throw new EngineError(
      'unsupported',
      `${name} keeps keys and values as f32, not as ${kvType}: leave --kv-type out, or use --provider cpu`,
    );
  return storage;
}
