import { afterEach, describe, expect, test } from 'vitest';
import type { Connection } from '../../../transport/wire/connection.js';
import { frameStart } from '../../../transport/wire/frames.js';
import { encodeMessage, type Message } from '../../../transport/messages/messages.js';
import { closeAll, connectionPair, connectionToSocket } from '../support/sockets.js';

afterEach(closeAll);

/** Collects messages, and resolves `count` of them. */
function messagesOf(connection: Connection, count: number): Promise<[Message, Uint8Array][]> {
  const messages: [Message, Uint8Array][] = [];
  return new Promise((resolve, reject) => {
    void connection.closed.then(reject);
    connection.onMessage = (message, payload) => {
      messages.push([message, payload]);
      if (messages.length === count) resolve(messages);
    };
  });
}

/** The step that a message cancels. */
function cancelled(message: Message): number | undefined {
  return message.kind === 'cancel' ? message.body.steps[0] : undefined;
}

const goodbyeFrame = frameStart(encodeMessage('goodbye', { reason: 'enough' }), 0);

describe('a connection', () => {
  test('carries messages both ways, in order', async () => {
    const { near, far } = await connectionPair();
    const count = 1000;
    const atFar = messagesOf(far, count);
    const atNear = messagesOf(near, count);
    for (let id = 0; id < count; id++) {
      near.send('cancel', { steps: [id, id + 1], sequences: [1, 1] });
      far.send('stepFailed', { stage: 1, id, epoch: 1, message: 'ä'.repeat(id) });
    }
    const ids = Array.from({ length: count }, (_, id) => id);
    expect((await atFar).map(([message]) => cancelled(message))).toEqual(ids);
    expect((await atNear).map(([{ body }]) => 'id' in body && body.id)).toEqual(ids);
    expect(near.bytesReceived).toBe(far.bytesSent);
    expect(far.bytesReceived).toBe(near.bytesSent);
  });

  test('carries payloads', async () => {
    const { near, far } = await connectionPair();
    const sizes = [1, 0, 65536, 3_000_000, 7];
    const arrived = messagesOf(far, sizes.length);
    for (const size of sizes)
      near.send('tensorData', { name: 'a', offset: size }, new Uint8Array(size).fill(size % 251));
    for (const [i, [, payload]] of (await arrived).entries()) {
      const size = sizes[i] ?? 0;
      expect(Buffer.from(payload).equals(Buffer.alloc(size, size % 251)), `${size} bytes`).toBe(
        true,
      );
    }
  });

  test('carries the description of a shard with thousands of tensors', async () => {
    const { near, far } = await connectionPair();
    const description = {
      stage: 1,
      shard: { firstLayer: 0, endLayer: 61, embedding: true, head: false },
      modelFingerprint: 'f'.repeat(64),
      metadata: '[]',
      tensors: Array.from({ length: 20_000 }, (_, i) => ({
        name: `blk.${i}.attn_output.weight`,
        type: 2,
        shape: [7168, 7168],
        bytes: i * 2 ** 32,
        sha256: 'a'.repeat(64),
      })),
      cells: 4096,
      conversations: 1,
      states: 1,
      kvType: 'f16',
      maxStepRows: 8192,
      countsRoutings: false,
    };
    near.send('loadShard', description);
    const [[message]] = (await messagesOf(far, 1)) as [[Message, Uint8Array]];
    expect(message).toEqual({ kind: 'loadShard', body: description });
  });

  test('keeps messages until there is someone to take them', async () => {
    const { near, far } = await connectionPair();
    for (let id = 1; id <= 3; id++) near.send('cancel', { steps: [id], sequences: [1] });
    await new Promise<void>((resolve) => {
      const wait = () => (far.bytesReceived < near.bytesSent ? setImmediate(wait) : resolve());
      wait();
    });
    near.send('cancel', { steps: [4], sequences: [1] });
    const ids = (await messagesOf(far, 4)).map(([message]) => cancelled(message));
    expect(ids).toEqual([1, 2, 3, 4]);
  });

  test('goes on where a handler has been taken away', async () => {
    const { near, far } = await connectionPair();
    const ids: unknown[] = [];
    for (let id = 1; id <= 5; id++) near.send('cancel', { steps: [id], sequences: [1] });
    await new Promise<void>((resolve) => {
      far.onMessage = (message) => {
        far.onMessage = undefined;
        ids.push(cancelled(message));
        resolve();
      };
    });
    await turns(20);
    for (const [message] of await messagesOf(far, 4)) ids.push(cancelled(message));
    expect(ids).toEqual([1, 2, 3, 4, 5]);
  });

  test('does not read on while there is nobody to take messages', async () => {
    const { connection, far } = await connectionToSocket();
    connection.startHeartbeats({ intervalMs: 5, missed: 3 });
    const size = 1 << 20;
    const count = 200;
    const frame = frameStart(encodeMessage('tensorData', { name: 'a', offset: 0 }), size);
    for (let i = 0; i < count; i++) far.write(Buffer.concat([frame, Buffer.alloc(size)]));
    let before = -1;
    while (before !== connection.bytesReceived) {
      before = connection.bytesReceived;
      // Longer than what counts as silence.
      await new Promise((resolve) => setTimeout(resolve, 40));
    }
    expect(connection.bytesReceived).toBeLessThan(10 * size);
    expect((await messagesOf(connection, count)).length).toBe(count);
  });

  test('says when the payload may be used again', async () => {
    const { near, far } = await connectionPair();
    far.onMessage = () => undefined;
    const payload = new Uint8Array(100_000);
    await new Promise<void>((resolve) =>
      near.send('tensorData', { name: 'a', offset: 0 }, payload, resolve),
    );
    await near.flushed();
  });

  test('waits while the other side does not read, and goes on when it does', async () => {
    const { connection, far } = await connectionToSocket();
    far.pause();
    let sent = 0;
    const sending = (async () => {
      for (; sent < 200; sent++) {
        connection.send('tensorData', { name: 'a', offset: 0 }, new Uint8Array(1 << 20));
        await connection.flushed();
      }
    })();
    // The socket and the system take some; then nothing moves, however many turns go by.
    let before = -1;
    while (before !== sent) {
      before = sent;
      await turns(200);
    }
    expect(sent).toBeLessThan(100);
    far.resume();
    await sending;
    expect(sent).toBe(200);
  });
});

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

describe('the end of a connection', () => {
  test('by this side is known on both, with the reason', async () => {
    const { near, far } = await connectionPair();
    near.close('the coordinator is done');
    expect(await near.closed).toMatchObject({
      code: 'closed',
      message: 'far: the coordinator is done',
    });
    expect(await far.closed).toMatchObject({
      code: 'closed',
      message: 'near: the coordinator is done',
    });
  });

  test('comes after everything that was sent before', async () => {
    const { near, far } = await connectionPair();
    const arrived = messagesOf(far, 3);
    near.send('cancel', { steps: [1], sequences: [1] });
    near.send('tensorData', { name: 'a', offset: 0 }, new Uint8Array(1_000_000));
    near.send('cancel', { steps: [2], sequences: [1] });
    near.close('done');
    expect((await arrived).length).toBe(3);
  });

  test.each([
    ['by the other side', '', 'far: connection closed'],
    ['in the middle of a header', '0900000007', 'far: connection closed within a frame'],
  ])('%s is told apart', async (_, bytes, message) => {
    const { connection, far } = await connectionToSocket();
    far.end(Buffer.from(bytes, 'hex'));
    expect(await connection.closed).toMatchObject({ code: 'closed', message });
  });

  test('in the middle of a payload is told', async () => {
    const { connection, far } = await connectionToSocket();
    far.write(frameStart(encodeMessage('tensorData', { name: 'a', offset: 0 }), 1000));
    far.end(Buffer.alloc(999));
    const message = 'far: connection closed within a frame';
    expect(await connection.closed).toMatchObject({ code: 'closed', message });
  });

  test('by a reset names the peer', async () => {
    const { connection, far } = await connectionToSocket();
    far.resetAndDestroy();
    expect(await connection.closed).toMatchObject({
      code: 'closed',
      message: 'far: connection lost (ECONNRESET)',
    });
  });

  test('keeps its first reason, and makes sending harmless', async () => {
    const { connection, far } = await connectionToSocket();
    far.write(goodbyeFrame);
    const reason = await connection.closed;
    expect(reason.message).toBe('far: enough');
    connection.close('no, I did it');
    connection.send('cancel', { steps: [1], sequences: [1] });
    await new Promise<void>((resolve) =>
      connection.send('cancel', { steps: [1], sequences: [1] }, new Uint8Array(1), resolve),
    );
    await connection.flushed();
    expect(await connection.closed).toBe(reason);
  });

  test('stops delivery, also of what has arrived already', async () => {
    const { connection, far } = await connectionToSocket();
    const ids: unknown[] = [];
    connection.onMessage = (message) => {
      ids.push(cancelled(message));
      connection.close('one is enough');
    };
    const frame = (id: number) =>
      frameStart(encodeMessage('cancel', { steps: [id], sequences: [1] }), 0);
    far.write(Buffer.concat([frame(1), frame(2), frame(3)]));
    await connection.closed;
    await turns(10);
    expect(ids).toEqual([1]);
  });

  test.each([
    ['bytes that are no frame', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
    ['a frame that is no message', frameStart(Buffer.from([1, 2, 3]), 0)],
    ['a payload beyond the limit', Buffer.from('ffffffff0100', 'hex')],
  ])('comes with %s', async (_, bytes) => {
    const { connection, far } = await connectionToSocket();
    far.write(bytes);
    const reason = await connection.closed;
    expect(reason.code).toBe('garbage');
    expect(reason.message).toMatch(/^far sent garbage: [^\n]+$/);
  });

  test('comes when a message that has waited cannot be handled', async () => {
    const { near, far } = await connectionPair();
    near.send('cancel', { steps: [1], sequences: [1] });
    while (far.bytesReceived < near.bytesSent) await turns(1);
    far.onMessage = () => {
      throw new Error('not this one');
    };
    expect((await far.closed).message).toContain('not this one');
  });

  test('is told in one line, whatever the peer says', async () => {
    const { connection, far } = await connectionToSocket();
    const reason = `no\nmore\u001b[31m${'!'.repeat(5000)}`;
    far.write(frameStart(encodeMessage('goodbye', { reason }), 0));
    const { message } = await connection.closed;
    expect(message).toMatch(/^far: no more \[31m!+$/);
    expect(message.length).toBeLessThanOrEqual(1000);
  });

  test('comes when a message cannot be handled, for this connection only', async () => {
    const one = await connectionPair();
    const other = await connectionPair();
    one.far.onMessage = () => {
      throw new Error('not this one');
    };
    one.near.send('cancel', { steps: [1], sequences: [1] });
    expect((await one.far.closed).message).toContain('not this one');
    const arrived = messagesOf(other.far, 1);
    other.near.send('cancel', { steps: [1], sequences: [1] });
    expect((await arrived).length).toBe(1);
  });
});

describe('signs of life', () => {
  const fast = { intervalMs: 5, missed: 3 };

  test('a peer that says nothing counts as gone', async () => {
    const { connection } = await connectionToSocket();
    connection.startHeartbeats(fast);
    expect(await connection.closed).toMatchObject({
      code: 'timeout',
      message: 'far did not answer for 0.015 s',
    });
  });

  test('a peer that stops in the middle of a message counts as gone', async () => {
    const { connection, far } = await connectionToSocket();
    connection.startHeartbeats(fast);
    far.write(frameStart(encodeMessage('tensorData', { name: 'a', offset: 0 }), 1000));
    expect(await connection.closed).toMatchObject({ code: 'timeout' });
  });

  test('keep idle connections open, and are not delivered', async () => {
    const { near, far } = await connectionPair();
    const kinds: string[] = [];
    near.onMessage = ({ kind }) => kinds.push(kind);
    far.onMessage = ({ kind }) => kinds.push(kind);
    near.startHeartbeats({ intervalMs: 5, missed: 1000 });
    far.startHeartbeats({ intervalMs: 5, missed: 1000 });
    await new Promise<void>((resolve) => {
      const wait = () =>
        Math.min(near.bytesReceived, far.bytesReceived) < 50 ? setTimeout(wait, 5) : resolve();
      wait();
    });
    expect(kinds).toEqual([]);
    near.send('cancel', { steps: [1], sequences: [1] });
    await messagesOf(far, 1);
  });

  test('cease with the connection', async () => {
    const { near, far } = await connectionPair();
    near.startHeartbeats(fast);
    near.close('done');
    await near.closed;
    near.startHeartbeats(fast);
    const sent = near.bytesSent;
    await far.closed;
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(near.bytesSent).toBe(sent);
  });
});
