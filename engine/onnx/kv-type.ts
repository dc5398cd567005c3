import { EngineError, type KvType } from '../engine.js';

/** Names of this engine's devices begin so. */
export const devicePrefix = 'onnx/';

/**
 * Refuses a type that keys and values are not kept in: they are f32 here, which is as good as f16, but four times the
 * memory that a quantized type promises.
 * @throws EngineError
 */
export function checkKvType(kvType: KvType): void {
  if (kvType === 'f16') return;
  throw new EngineError(
    `onnx keeps keys and values as f32, not as ${kvType}: leave --kv-type out, or use --engine ggml`,
  );
}

/** The type that a device of any engine really keeps keys and values in. */
export function storedKvType(device: string, wanted: KvType): KvType | 'f32' {
  return device.startsWith(devicePrefix) ? 'f32' : wanted;
}
