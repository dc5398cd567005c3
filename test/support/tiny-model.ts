import { syntheticModel } from '../../model/synthetic/synthetic-model.js';
import type { SyntheticShape } from '../../model/synthetic/shape.js';
import { tinyShape } from '../../model/synthetic/tiny-shapes.js';
import type { MetadataValue, TensorInfo, TensorSource } from '../../model/tensor-source.js';

export { tinyShape };

/** What is different from the synthetic model. */
export interface Changes {
  readonly metadata?: readonly (readonly [string, MetadataValue])[];
  /** Tensors to have instead, or besides; undefined leaves one out. */
  readonly tensors?: readonly (readonly [string, TensorInfo | undefined])[];
  /** Data of tensors that the synthetic model does not have. */
  readonly read?: (tensor: TensorInfo) => Uint8Array;
}

/** A tiny model with changes. Its fingerprint is the changes'. */
export function tinyModel(
  type: string,
  changes: Changes = {},
  shape: Partial<SyntheticShape> = {},
): TensorSource {
  const source = syntheticModel({ ...tinyShape, ...shape }, type);
  const tensors = new Map(source.tensors);
  for (const [name, tensor] of changes.tensors ?? [])
    if (tensor) tensors.set(name, tensor);
    else tensors.delete(name);
  return {
    metadata: new Map([...source.metadata, ...(changes.metadata ?? [])]),
    tensors,
    fingerprint: `${source.fingerprint} ${JSON.stringify(changes)}`,
    contentKey: `${source.contentKey} ${JSON.stringify(changes)}`,
    close: () => Promise.resolve(),
    read: (name, offset, into) => {
      const tensor = tensors.get(name);
      if (!tensor || !changes.read || tensor === source.tensors.get(name))
        return source.read(name, offset, into);
      into.set(changes.read(tensor).subarray(offset, offset + into.byteLength));
      return Promise.resolve();
    },
  };
}
