import pino, { type Logger } from 'pino';
import type { Connection } from '../../../transport/wire/connection.js';
import {
  acceptChannel,
  offerChannel,
  type TransportChoice,
} from '../../../transport/protocol/open-channel.js';
import { dial, listen } from '../../../transport/protocol/peers.js';
import type { QueueKind } from '../../../transport/wire/rdma/queue-pair.js';
import type { Listener } from '../../../transport/wire/tcp.js';
import type { TensorChannel } from '../../../transport/wire/tensor-channel.js';

/** Addresses of the two devices: those that devices.sh makes, unless others are there. */
export const nearAddress = process.env.NEAR_ADDRESS ?? '10.9.0.1';
export const farAddress = process.env.FAR_ADDRESS ?? '10.9.0.2';

/** Two ends of a link in this process, each with a device of its own. */
export interface Link extends AsyncDisposable {
  readonly near: TensorChannel;
  readonly far: TensorChannel;
  readonly connection: Connection;
  /** What was logged as a warning. */
  readonly warnings: readonly string[];
}

/** @param slotBytes what goes at a time @param transport whether the sender must use RDMA */
export async function openLink(
  queue: QueueKind,
  slotBytes = 65_536,
  transport: TransportChoice = 'rdma',
): Promise<Link> {
  const warnings: string[] = [];
  const logger = collectingLogger(warnings);
  const { listener, accepted } = await listenOnce();
  const { connection } = await dialFar(listener.port);
  const farConnection = await accepted;
  const far = acceptChannel(farConnection, { transport, rdmaDevice: farAddress, logger });
  const options = { transport, rdmaDevice: nearAddress, rdmaQueue: queue, logger };
  const near = await offerChannel(connection, 8196, options, slotBytes);
  return {
    near,
    far: await far,
    connection,
    warnings,
    [Symbol.asyncDispose]: async () => {
      connection.close('done');
      await Promise.all([connection.closed, farConnection.closed]);
      await listener.close();
    },
  };
}

/** Listens at the far address for one connection. */
export async function listenOnce(
  port = 0,
): Promise<{ listener: Listener; accepted: Promise<Connection> }> {
  let accept!: (connection: Connection) => void;
  const accepted = new Promise<Connection>((resolve) => (accept = resolve));
  const welcome = {
    softwareVersion: '',
    name: 'far',
    machineId: '',
    engine: '',
    modelFingerprint: '',
    freeBytes: 0,
    device: '',
    threads: 1,
    busy: false,
  };
  const listener = await listen({
    host: farAddress,
    port,
    answer: () => ({ welcome }),
    onConnection: accept,
    onRejected: (reason) => console.error(reason.message),
  });
  return { listener, accepted };
}

export function dialFar(port: number): ReturnType<typeof dial> {
  const hello = { role: 'tensor', softwareVersion: '', name: 'near' } as const;
  return dial({ host: farAddress, port, hello });
}

export function collectingLogger(warnings: string[]): Logger {
  return pino(
    { level: 'warn' },
    { write: (line) => void warnings.push((JSON.parse(line) as { msg: string }).msg) },
  );
}

/** Sends a message whose payload is these rows. */
export function sendRows(
  channel: TensorChannel,
  id: number,
  bytes: Uint8Array,
  rows: number,
): Promise<void> {
  const rowBytes = bytes.byteLength / rows;
  return channel.send(
    'credit',
    { steps: id, receipt: 0 },
    {
      body: new Uint8Array(0),
      rows,
      rowBytes,
      encode: (into, first, count) =>
        into.set(bytes.subarray(first * rowBytes, (first + count) * rowBytes)),
    },
  );
}
