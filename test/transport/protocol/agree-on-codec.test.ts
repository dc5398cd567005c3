import { afterEach, describe, expect, test } from 'vitest';
import { startLinkSimulator } from '../../../bench/link-simulator.js';
import { acceptCodec, offerCodec } from '../../../transport/protocol/agree-on-codec.js';
import { TensorReceiver, TensorSender } from '../../../transport/protocol/tensor-link.js';
import { codecNamed } from '../../../transport/wire/codecs/codecs.js';
import { Connection } from '../../../transport/wire/connection.js';
import { TcpChannel } from '../../../transport/wire/tensor-channel.js';
import { Arrivals } from '../support/arrivals.js';
import { closeAll, closeLater, connectionPair, connectTo, serve } from '../support/sockets.js';
import { stepOf } from '../support/steps.js';

afterEach(closeAll);

const rowSize = 1024;
const wanted = { codec: 'auto', expected: { decodeMs: 5, promptRowMs: 1 } } as const;

type Pair = Awaited<ReturnType<typeof connectionPair>>;

/** Two connections that are joined by a slow cable. */
async function slowPair(megabits: number): Promise<Pair> {
  let accept: (connection: Connection) => void = () => undefined;
  const accepted = new Promise<Connection>((resolve) => (accept = resolve));
  const port = await serve((socket) => accept(new Connection(socket, 'near')));
  const loopback = '127.0.0.1';
  const cable = await startLinkSimulator(
    { host: loopback, port: 0 },
    { host: loopback, port },
    { megabits, latencyMs: 1, jitterMs: 1 },
  );
  closeLater(() => cable.close());
  const near = new Connection(await connectTo(cable.port), 'far');
  return { near, far: await accepted };
}

async function agree({ near, far }: Pair) {
  const [sending, receiving] = [new TcpChannel(near), new TcpChannel(far)];
  const accepting = acceptCodec(receiving, 'auto');
  const { codec, figures } = await offerCodec(sending, wanted, rowSize);
  expect(await accepting).toBe(codec);
  return { sending, receiving, codec, figures };
}

describe('two sides of a link', () => {
  test('agree on the smallest values over a slow cable, and what it measured is what it carries', async () => {
    const megabits = 16;
    const { codec, figures } = await agree(await slowPair(megabits));
    expect(codec).toBe('fp8');
    expect(figures?.roundTripMs).toBeGreaterThanOrEqual(2);
    expect(figures?.bytesPerMs).toBeLessThan(1.5 * megabits * 125);
  });

  test('agree on exact values without measuring on one machine', async () => {
    const { near, far } = await connectionPair();
    const accepting = acceptCodec(new TcpChannel(far), 'auto');
    const local = { ...wanted, isLocal: true };
    expect(await offerCodec(new TcpChannel(near), local, rowSize)).toEqual({ codec: 'f32' });
    expect(await accepting).toBe('f32');
  });

  test('send steps as they have agreed', async () => {
    const { sending, receiving, codec } = await agree(await slowPair(400));
    const sender = new TensorSender(sending, codecNamed(codec), rowSize);
    const hidden = Float32Array.from({ length: 3 * rowSize }, (_, i) => Math.sin(i));
    await sender.send(stepOf(3, 1), hidden);
    const arrivals = new Arrivals();
    new TensorReceiver(receiving, codecNamed(codec), rowSize, arrivals.take);
    expect((await arrivals.nth(0)).hidden).toHaveLength(hidden.length);
  });

  test('do not measure where the codec is given', async () => {
    const { near, far } = await connectionPair();
    expect(await offerCodec(new TcpChannel(near), { codec: 'int8' }, rowSize)).toEqual({
      codec: 'int8',
    });
    expect(await acceptCodec(new TcpChannel(far), 'int8')).toBe('int8');
    expect(near.bytesSent).toBe(0);
  });

  test('end when the other goes, or says something else', async () => {
    const gone = await connectionPair();
    const measuring = offerCodec(new TcpChannel(gone.near), wanted, rowSize);
    gone.far.close('is tired');
    await expect(measuring).rejects.toMatchObject({ code: 'closed', message: 'far: is tired' });
    const odd = await connectionPair();
    const accepting = acceptCodec(new TcpChannel(odd.far), 'auto');
    odd.near.send('linkCodec', { codec: 'f64' });
    await expect(accepting).rejects.toThrow('unknown codec "f64"');
    const others = await connectionPair();
    const waiting = acceptCodec(new TcpChannel(others.far), 'auto');
    others.near.send('credit', { steps: 1, receipt: 0 });
    await expect(waiting).rejects.toMatchObject({ code: 'garbage' });
  });
});
