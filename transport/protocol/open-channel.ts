import os from 'node:os';
import type { Logger } from 'pino';
import type { Connection } from '../wire/connection.js';
import { TransportError } from '../wire/errors.js';
import { handshakeMs, nextMessage } from './handshake.js';
import type { Messages, QueueAddress } from '../messages/messages.js';
import { findEndpoint } from '../wire/rdma/devices.js';
import { neededSlotBytes } from '../wire/rdma/frame-stream.js';
import { queueKinds, type QueueKind } from '../wire/rdma/queue-pair.js';
import { RdmaChannel } from '../wire/rdma/rdma-channel.js';
import { TcpChannel, type TensorChannel } from '../wire/tensor-channel.js';

/** How tensors travel; `auto` takes RDMA where both ends have it, else TCP. */
export type TransportChoice = 'auto' | 'tcp' | 'rdma';
export const transportChoices: readonly TransportChoice[] = ['auto', 'tcp', 'rdma'];

export interface ChannelOptions {
  readonly transport: TransportChoice;
  /** Name or IPv4 address of the RDMA device; default: the one that has the connection's address, or the only one. */
  readonly rdmaDevice?: string;
  /** Default: RC, on macOS UC, which is all that Thunderbolt has. */
  readonly rdmaQueue?: QueueKind;
  readonly logger: Logger;
}

/** What of it can be chosen; the rest has defaults. */
export type ChannelChoices = Partial<Omit<ChannelOptions, 'logger'>>;

/** Slots are 4 KB × 2^k; larger ones carry prompts faster. */
const smallestSlotBytes = 4096;
const usualSlotBytes = 65_536;
const largestSlotBytes = smallestSlotBytes << 7;

/**
 * The side that sends tensors: agrees with the other on how.
 * @param rowBytes encoded bytes of a token's hidden states
 * @param slotBytes what RDMA sends at a time; default: as much as is good for such rows
 * @throws TransportError 'rdma' when RDMA was asked for and cannot be used
 */
export async function offerChannel(
  connection: Connection,
  rowBytes: number,
  options: ChannelOptions,
  slotBytes = slotBytesFor(rowBytes),
): Promise<TensorChannel> {
  if (options.transport !== 'tcp') {
    try {
      return await offerRdma(connection, slotBytes, options);
    } catch (error) {
      if (!isRdmaError(error) || options.transport === 'rdma') throw error;
      options.logger.info(`${connection.peer}: tensors go over TCP: ${error.message}`);
    }
  }
  connection.send('channelOffer', tcpOffer);
  return new TcpChannel(connection);
}

async function offerRdma(
  connection: Connection,
  slotBytes: number,
  { transport, rdmaDevice, rdmaQueue, logger }: ChannelOptions,
): Promise<TensorChannel> {
  const { localAddress } = connection;
  if (rdmaDevice === undefined && isLoopback(localAddress))
    throw new TransportError(
      'rdma',
      'both ends of the link are on this machine: use --transport tcp, or choose a device with --rdma-device',
    );
  const endpoint = findEndpoint(rdmaDevice, localAddress);
  const queue = rdmaQueue ?? (process.platform === 'darwin' ? 'uc' : 'rc');
  const channel = new RdmaChannel(connection, endpoint, queue, slotBytes, logger);
  try {
    const offer = { transport: 'rdma', queue, slotBytes, address: channel.address };
    connection.send('channelOffer', offer);
    const other = await acceptedAddress(connection);
    if (!connected(channel, other, transport)) return channel;
  } catch (error) {
    channel.close();
    throw error;
  }
  if (!(await channel.probe(handshakeMs)))
    channel.giveUp('no frame came back: are both ends on the same cable or network?');
  logger.info(`${connection.peer}: tensors go by ${channel.name}`);
  return channel;
}

async function acceptedAddress(connection: Connection): Promise<QueueAddress> {
  const { kind, body } = await nextMessage(connection);
  if (kind !== 'channelAnswer')
    throw new TransportError('garbage', `${connection.peer} sent a ${kind} here`);
  const { refusal, address } = body;
  if (!address || refusal) throw new TransportError('rdma', `${connection.peer}: ${refusal}`);
  return address;
}

/**
 * The other side has accepted: where RDMA need not be used it has to be told that it is not.
 * @returns whether the channel uses RDMA
 * @throws TransportError 'rdma' when it has to be used
 */
function connected(channel: RdmaChannel, other: QueueAddress, transport: TransportChoice): boolean {
  try {
    channel.connect(other);
    return true;
  } catch (error) {
    if (!isRdmaError(error) || transport === 'rdma') throw error;
    channel.giveUp(error.message);
    return false;
  }
}

/**
 * The side that receives tensors: takes the other's offer, or refuses RDMA, which has the other go on with TCP.
 * @throws TransportError when the peer does not offer anything
 */
export async function acceptChannel(
  connection: Connection,
  options: ChannelOptions,
): Promise<TensorChannel> {
  for (;;) {
    const message = await nextMessage(connection);
    if (message.kind !== 'channelOffer')
      throw new TransportError('garbage', `${connection.peer} sent a ${message.kind} here`);
    const { transport } = message.body;
    if (transport !== 'rdma' && options.transport !== 'rdma') return new TcpChannel(connection);
    if (transport !== 'rdma')
      throw new TransportError(
        'rdma',
        `${connection.peer} offers TCP, --transport rdma wants RDMA`,
      );
    try {
      return acceptRdma(connection, message.body, options);
    } catch (error) {
      const { message: cause } = error as Error;
      options.logger.info(`${connection.peer}: tensors go over TCP: ${cause}`);
      connection.send('channelAnswer', { refusal: cause });
    }
  }
}

function acceptRdma(
  connection: Connection,
  offer: Messages['channelOffer'],
  { transport, rdmaDevice, logger }: ChannelOptions,
): TensorChannel {
  if (transport === 'tcp') throw new TransportError('rdma', 'was started with --transport tcp');
  const queue = queueKinds.find((kind) => kind === offer.queue);
  const { slotBytes, address } = offer;
  if (!queue || slotBytes < smallestSlotBytes || address?.gid.byteLength !== 16)
    throw new TransportError('rdma', 'does not understand the offer: install the same daisychain');
  if (slotBytes > mostSlotBytes())
    throw new TransportError('rdma', `takes frames of at most ${mostSlotBytes()} bytes: update it`);
  const endpoint = findEndpoint(rdmaDevice, connection.localAddress);
  const channel = new RdmaChannel(connection, endpoint, queue, slotBytes, logger);
  try {
    channel.connect(address);
  } catch (error) {
    channel.close();
    throw error;
  }
  connection.send('channelAnswer', { refusal: '', address: channel.address });
  logger.info(`${connection.peer}: tensors come by ${channel.name}`);
  return channel;
}

function slotBytesFor(rowBytes: number): number {
  let slotBytes = usualSlotBytes;
  while (slotBytes < neededSlotBytes(rowBytes)) slotBytes *= 2;
  return Math.min(slotBytes, mostSlotBytes());
}

/** Thunderbolt carries frames of more than 4096 bytes from macOS 26.3 on, which is Darwin 25.3. */
function mostSlotBytes(): number {
  if (process.platform !== 'darwin') return largestSlotBytes;
  const [major = 0, minor = 0] = os.release().split('.').map(Number);
  return major > 25 || (major === 25 && minor >= 3) ? largestSlotBytes : smallestSlotBytes;
}

/** Whether an address of this machine is one that no other reaches. */
export function isLoopback(address: string): boolean {
  return address === '' || address === '::1' || address.startsWith('127.');
}

function isRdmaError(error: unknown): error is TransportError {
  return error instanceof TransportError && error.code === 'rdma';
}

const tcpOffer = { transport: 'tcp', queue: '', slotBytes: 0 };
