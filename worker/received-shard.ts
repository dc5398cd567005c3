import { createHash } from 'node:crypto';
import fs from 'node:fs/promises';
import { ModelError } from '../model/errors.js';
import type { MetadataValue, TensorSource } from '../model/tensor-source.js';
import type { HashedTensor, TensorCache } from './tensor-cache.js';

/** A shard whose tensors lie in the worker's cache, or will do when it is read. */
export class ReceivedShard implements TensorSource {
  readonly tensors: ReadonlyMap<string, HashedTensor>;
  readonly contentKey: string;

  constructor(
    private readonly cache: TensorCache,
    readonly metadata: ReadonlyMap<string, MetadataValue>,
    tensors: readonly HashedTensor[],
    readonly fingerprint: string,
  ) {
    this.tensors = new Map(tensors.map((tensor) => [tensor.name, tensor]));
    this.contentKey = createHash('sha256')
      .update(JSON.stringify([[...metadata], tensors]))
      .digest('hex');
  }

  async read(name: string, offset: number, into: Uint8Array): Promise<void> {
    const tensor = this.tensors.get(name);
    if (!tensor) throw new ModelError('damaged', `the shard has no tensor ${name}`);
    try {
      await readAt(this.cache.path(tensor.sha256), offset, into);
    } catch (error) {
      throw new ModelError('file', `cannot read tensor ${name} from the cache: try again`, {
        cause: error,
      });
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

async function readAt(path: string, offset: number, into: Uint8Array): Promise<void> {
  const file = await fs.open(path, 'r');
  try {
    const { bytesRead } = await file.read(into, 0, into.byteLength, offset);
    if (bytesRead !== into.byteLength) throw new Error(`${path} ends too soon`);
  } finally {
    await file.close();
  }
}
