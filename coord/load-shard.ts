import { tensorsOfShard } from '../model/shard-tensors.js';
import type { TensorSource } from '../model/tensor-source.js';
import type { Messages } from '../transport/messages/messages.js';
import type { LoadRequest } from './stage-port.js';
import type { TensorHashes } from './tensor-hashes.js';

/**
 * What a worker is told to load.
 * @param stage its number
 * @param holdsModel whether the worker has the model file; otherwise it has to be told what there is
 */
export async function loadShardMessage(
  stage: number,
  {
    source,
    shard,
    cells,
    conversations = 1,
    states = conversations,
    kvType,
    maxStepRows,
    countsRoutings = false,
  }: LoadRequest,
  holdsModel: boolean,
  hashes: TensorHashes,
): Promise<Messages['loadShard']> {
  const tensors = holdsModel ? [] : tensorsOfShard(source.tensors, shard);
  const sha256 = await hashes.of(tensors);
  return {
    stage,
    shard,
    modelFingerprint: source.fingerprint,
    metadata: holdsModel ? '' : engineMetadata(source),
    tensors: tensors.map(({ name, type, shape, bytes }, i) => ({
      name,
      type: type.id,
      shape: [...shape],
      bytes,
      sha256: sha256[i] ?? '',
    })),
    cells,
    conversations,
    states,
    kvType,
    maxStepRows,
    countsRoutings,
  };
}

/** Vocabularies are large, and of no use to an engine. */
function engineMetadata({ metadata }: TensorSource): string {
  return JSON.stringify(
    [...metadata].filter(
      ([key, value]) => !key.startsWith('tokenizer.') && typeof value !== 'bigint',
    ),
  );
}
