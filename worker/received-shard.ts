import fs from 'node:fs/promises';
import { ModelError } from '../model/errors.js';
import type { MetadataValue, TensorInfo, TensorSource } from '../model/tensor-source.js';
import type { TensorCache } from './tensor-cache.js';

/** A tensor that the coordinator described. */
export interface ReceivedTensor extends TensorInfo {
  readonly sha256: string;
}

/** A shard whose tensors lie in the worker's cache. */
export class ReceivedShard implements TensorSource {
  readonly tensors: ReadonlyMap<string, ReceivedTensor>;

  constructor(
    private readonly cache: TensorCache,
    readonly metadata: ReadonlyMap<string, MetadataValue>,
    tensors: readonly ReceivedTensor[],
    readonly fingerprint: string,
  ) {
    this.tensors = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  }

  async read(name: string, offset: number, into: Uint8Array): Promise<void> {
    const tensor = this.tensors.get(name);
    if (!tensor) throw new ModelError(`the shard has no tensor ${name}`);
    const file = await fs.open(this.cache.path(tensor.sha256), 'r');
    try {
      const { bytesRead } = await file.read(into, 0, into.byteLength, offset);
      if (bytesRead !== into.byteLength)
        throw new ModelError(`cached tensor ${name} is too short: delete the cache and try again`);
    } finally {
      await file.close();
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
