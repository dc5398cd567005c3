import net from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import type { Connection } from '../../../transport/wire/connection.js';
import {
  newSecretText,
  secretFromText,
  type ClusterSecret,
} from '../../../transport/wire/security.js';
import { dial, listen } from '../../../transport/protocol/peers.js';
import type { Listener } from '../../../transport/wire/tcp.js';
import { hello, welcomeAll } from '../support/sockets.js';

let listener: Listener;
afterEach(() => listener.close());

interface Peers {
  readonly accepted: Connection[];
  readonly rejected: string[];
}

async function startListening(secret?: ClusterSecret): Promise<Peers> {
  const peers: Peers = { accepted: [], rejected: [] };
  listener = await listen({
    host: '127.0.0.1',
    port: 0,
    secret,
    answer: welcomeAll,
    onConnection: (connection) => peers.accepted.push(connection),
    onRejected: ({ message }) => peers.rejected.push(message),
  });
  return peers;
}

const dialWith = (secret?: ClusterSecret) =>
  dial({ host: '127.0.0.1', port: listener.port, hello, secret });

const secret = secretFromText(newSecretText());
const other = secretFromText(newSecretText());

/** A relay that keeps what a client sends. */
async function recordingRelay(
  target: number,
): Promise<{ port: number; sent: Buffer[]; close: () => void }> {
  const sent: Buffer[] = [];
  const server = net.createServer((client) => {
    const upstream = net.connect(target, '127.0.0.1');
    client.on('data', (data: Buffer) => sent.push(data));
    client.on('error', () => undefined).pipe(upstream);
    upstream.on('error', () => undefined).pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as net.AddressInfo).port,
    sent,
    close: () => void server.close(),
  };
}

describe('links with a secret', () => {
  test('carry messages both ways, encrypted', async () => {
    const peers = await startListening(secret);
    const relay = await recordingRelay(listener.port);
    const { connection } = await dial({ host: '127.0.0.1', port: relay.port, hello, secret });
    const reason = 'a reason that must not be readable';
    await expect.poll(() => peers.accepted.length).toBe(1);
    connection.close(reason);
    expect((await peers.accepted[0]?.closed)?.message).toContain(reason);
    expect(Buffer.concat(relay.sent).includes(Buffer.from(reason))).toBe(false);
    relay.close();
  });

  test('refuse another secret', async () => {
    const peers = await startListening(secret);
    await expect(dialWith(other)).rejects.toMatchObject({
      code: 'secret',
      message: expect.stringMatching(/has another cluster secret, or none/) as string,
    });
    await expect.poll(() => peers.rejected.join()).toMatch(/does not know the cluster secret/);
    expect(peers.accepted).toHaveLength(0);
    await dialWith(secret);
  });

  test('refuse a peer without one, and a peer with one where none is wanted', async () => {
    const peers = await startListening(secret);
    await expect(dialWith()).rejects.toThrow(/does not speak .* or wants the cluster secret/);
    expect(peers.accepted).toHaveLength(0);
    await listener.close();
    await startListening();
    await expect(dialWith(secret)).rejects.toThrow(
      /does not encrypt: start it with the cluster secret/,
    );
  });

  test('cannot be opened by replaying what was recorded', async () => {
    const peers = await startListening(secret);
    const relay = await recordingRelay(listener.port);
    const { connection } = await dial({ host: '127.0.0.1', port: relay.port, hello, secret });
    await expect.poll(() => peers.accepted.length).toBe(1);
    connection.close('recorded');
    relay.close();

    const replay = net.connect(listener.port, '127.0.0.1');
    replay.on('error', () => undefined).resume();
    for (const data of relay.sent) replay.write(data);
    await new Promise((resolve) => replay.once('close', resolve));
    expect(peers.accepted).toHaveLength(1);
    expect(peers.rejected).toHaveLength(1);
  });

  test('outlive a thousand half-open connections, scanners and slow bytes', async () => {
    const peers = await startListening(secret);
    const honest = await dialWith(secret);
    const sockets = Array.from({ length: 1000 }, (_, i) => {
      const socket = net.connect(listener.port, '127.0.0.1');
      socket.on('error', () => undefined).resume();
      if (i % 3 === 1) socket.write('GET / HTTP/1.1\r\n\r\n');
      if (i % 3 === 2) socket.write(Buffer.from([0x16]));
      return socket;
    });
    await expect.poll(() => peers.rejected.length, { timeout: 20_000 }).toBeGreaterThan(900);
    const second = await dialWith(secret);
    expect(peers.accepted).toHaveLength(2);
    for (const socket of sockets) socket.destroy();
    for (const { connection } of [honest, second]) connection.close('done');
  });
});

test('a secret that could be guessed is refused', async () => {
  await startListening();
  expect(() => secretFromText('hunter2')).toThrow(/has 7 characters, fewer than 20/);
  expect(secretFromText(' spaces around do not matter \n').key).toEqual(
    secretFromText('spaces around do not matter').key,
  );
  expect(newSecretText()).not.toBe(newSecretText());
});
