import type { Message } from '../transport/messages/messages.js';
import type { Connection } from '../transport/wire/connection.js';
import { WorkerError } from './errors.js';
import type { HashedTensor, TensorCache } from './tensor-cache.js';
import type { TensorWriter } from './tensor-writer.js';

/** Bytes that may wait for the disk. Coordinators stay below: they wait until they hear that some are stored. */
const mostWaitingBytes = 128 << 20;

/**
 * Stores the tensors of a shard that the cache lacks, as they come over a weights connection: one after the other, each
 * in order.
 * @throws WorkerError 'ended' when the connection ends too early, 'message', 'damaged' or 'disk'
 */
export async function receiveTensors(
  connection: Connection,
  cache: TensorCache,
  tensors: readonly HashedTensor[],
): Promise<void> {
  const expected = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  let writer: TensorWriter | undefined;
  let stored = 0;
  try {
    for await (const [{ kind, body }, data] of messagesOf(connection)) {
      if (kind !== 'tensorData') throw new WorkerError('message', `a ${kind} message here`);
      writer ??= await cache.store(take(expected, body.name));
      if (writer.name !== body.name)
        throw new WorkerError('message', `tensor ${body.name} came amid ${writer.name}`);
      if (await writer.append(body.offset, data)) writer = undefined;
      connection.send('stored', { bytes: (stored += data.byteLength) });
      if (expected.size === 0 && !writer) return;
    }
    const reason = await connection.closed;
    throw new WorkerError('ended', `the shard's tensors did not all arrive: ${reason.message}`, {
      cause: reason,
    });
  } finally {
    await writer?.discard();
  }
}

function take(expected: Map<string, HashedTensor>, name: string): HashedTensor {
  const tensor = expected.get(name);
  if (!tensor) throw new WorkerError('message', `tensor ${name} was not asked for`);
  expected.delete(name);
  return tensor;
}

/** What comes over a connection until it ends. */
async function* messagesOf(connection: Connection): AsyncGenerator<readonly [Message, Uint8Array]> {
  const waiting: (readonly [Message, Uint8Array])[] = [];
  let waitingBytes = 0;
  let hasEnded = false;
  let wake: () => void = () => undefined;
  connection.onMessage = (message, payload) => {
    waitingBytes += payload.byteLength;
    if (waitingBytes > mostWaitingBytes)
      throw new WorkerError('message', 'more data than the disk can take');
    waiting.push([message, payload]);
    wake();
  };
  void connection.closed.then(() => {
    hasEnded = true;
    wake();
  });
  for (;;) {
    const next = waiting.shift();
    if (next) {
      yield next;
      waitingBytes -= next[1].byteLength;
    } else if (hasEnded) return;
    else await new Promise<void>((resolve) => (wake = resolve));
  }
}
