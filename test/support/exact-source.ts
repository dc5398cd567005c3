import { decoderOf } from '../../engine/onnx/weights/decode.js';
import { tensorBytes, tensorTypeNamed } from '../../model/gguf/tensor-types.js';
import type { TensorSource } from '../../model/tensor-source.js';

/** The same model with its weights as f32: engines then compute with f32 activations as well. */
export function exactSource(source: TensorSource): TensorSource {
  const f32 = tensorTypeNamed('f32');
  const tensors = new Map(
    [...source.tensors].map(([name, { shape }]) => [
      name,
      { name, type: f32, shape, bytes: tensorBytes(f32, shape) },
    ]),
  );
  let decoded: { readonly name: string; readonly values: Float32Array } | undefined;
  return {
    metadata: source.metadata,
    tensors,
    fingerprint: `exact ${source.fingerprint}`,
    contentKey: `exact ${source.contentKey}`,
    close: () => source.close(),
    read: async (name, offset, into) => {
      if (decoded?.name !== name) decoded = { name, values: await decode(source, name) };
      into.set(new Uint8Array(decoded.values.buffer, offset, into.byteLength));
    },
  };
}

async function decode(source: TensorSource, name: string): Promise<Float32Array> {
  const tensor = source.tensors.get(name);
  if (!tensor) throw new Error(`no tensor ${name}`);
  const stored = new Uint8Array(tensor.bytes);
  await source.read(name, 0, stored);
  const values = new Float32Array(tensor.shape.reduce((product, size) => product * size, 1));
  decoderOf(tensor.type)(stored, values);
  return values;
}
