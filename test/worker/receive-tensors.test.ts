import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { tensorTypeNamed } from '../../model/gguf/tensor-types.js';
import type { Connection } from '../../transport/wire/connection.js';
import { receiveTensors } from '../../worker/receive-tensors.js';
import { TensorCache, type HashedTensor } from '../../worker/tensor-cache.js';
import { closeAll, connectionPair } from '../transport/support/sockets.js';
import { keptLog, temporaryFolder } from './support/worker.js';

afterEach(closeAll);

const data = Uint8Array.from({ length: 100 }, (_, i) => i);
const sha256 = createHash('sha256').update(data).digest('hex');
const type = tensorTypeNamed('i8');
const described = { type, shape: [100], bytes: 100, sha256 };
const tensors: readonly HashedTensor[] = [
  { ...described, name: 'first' },
  { ...described, name: 'second' },
];

/** What comes of data that `send` sends, and what is in the cache then. */
async function receive(send: (far: Connection) => void) {
  await using folder = await temporaryFolder();
  const cache = new TensorCache({ cacheDirectory: folder.path, logger: keptLog().logger });
  await cache.makeRoom(0, new Set());
  const { near, far } = await connectionPair();
  const stored: number[] = [];
  far.onMessage = (message) => {
    if (message.kind === 'stored') stored.push(message.body.bytes);
  };
  const received = receiveTensors(near, cache, tensors).then(
    () => 'all is here',
    (error: Error) => error,
  );
  send(far);
  const outcome = await received;
  near.close('the test is over');
  await far.closed;
  return { outcome, stored, files: await readdir(path.join(folder.path, 'tensors')) };
}

const part = (far: Connection, name: string, offset: number, bytes = data.subarray(offset)) =>
  far.send('tensorData', { name, offset }, bytes);

describe('tensors on their way', () => {
  test('are stored, in whatever order they come, and that is said', async () => {
    const { outcome, stored, files } = await receive((far) => {
      part(far, 'second', 0, data.subarray(0, 30));
      part(far, 'second', 30);
      part(far, 'first', 0);
    });
    expect(outcome).toBe('all is here');
    expect(stored).toEqual([30, 100, 200]);
    expect(files).toEqual([sha256]);
  });

  test('are stored when the sender goes with its last byte', async () => {
    const { outcome, files } = await receive((far) => {
      part(far, 'first', 0);
      part(far, 'second', 0);
      far.close('all is sent');
    });
    expect(outcome).toBe('all is here');
    expect(files).toEqual([sha256]);
  });

  test.each<[string, (far: Connection) => void, object]>([
    ['have a gap', (far) => part(far, 'first', 50), { code: 'message' }],
    ['are too long', (far) => part(far, 'first', 0, new Uint8Array(101)), { code: 'message' }],
    ['are empty', (far) => part(far, 'first', 0, new Uint8Array(0)), { code: 'message' }],
    ['were not asked for', (far) => part(far, 'third', 0), { code: 'message' }],
    [
      'came already',
      (far) => {
        part(far, 'first', 0);
        part(far, 'first', 0);
      },
      { code: 'message' },
    ],
    [
      'are mixed',
      (far) => {
        part(far, 'first', 0, data.subarray(0, 30));
        part(far, 'second', 0);
      },
      { code: 'message' },
    ],
    ['are damaged', (far) => part(far, 'first', 0, new Uint8Array(100)), { code: 'damaged' }],
    ['are no tensors', (far) => far.send('stored', { bytes: 1 }), { code: 'message' }],
    [
      'do not all come',
      (far) => {
        part(far, 'first', 0, data.subarray(0, 30));
        far.close('the cable is out');
      },
      { code: 'ended', message: "the shard's tensors did not all arrive: far: the cable is out" },
    ],
  ])('that %s are refused, and nothing half-written stays', async (_, send, error) => {
    const { outcome, files } = await receive(send);
    expect(outcome).toMatchObject({ name: 'WorkerError', ...error });
    expect(files.filter((name) => name.endsWith('.part'))).toEqual([]);
  });
});
