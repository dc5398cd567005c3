import type { Message } from '../messages/messages.js';
import { TransportError } from '../wire/errors.js';
import type { TensorChannel } from '../wire/tensor-channel.js';
import { handshakeMs } from './handshake.js';

/** What was measured of a link when it was opened. */
export interface LinkFigures {
  /** Milliseconds for a few bytes to go and an answer to come back. */
  readonly roundTripMs: number;
  /** What goes through in one direction, with encryption and all. */
  readonly bytesPerMs: number;
}

/** Probes without a payload: the fastest round trip counts, others were disturbed. */
const roundTrips = 8;

/** Bytes of bursts: the next is sent only where the one before took so little that it will not take long. */
const burstBytes = [1 << 13, 1 << 15, 1 << 17, 1 << 19, 1 << 21];
const longBurstMs = 12;

/** The last burst is sent so often; nothing is repeated when half of these milliseconds are over. */
const repetitions = 3;
const mostMs = 100;

const nothing = new Uint8Array(0);

/**
 * Measures a link that nothing else uses yet, in about a tenth of a second at most where it has some 100 KB/s or more.
 * @param channel whose other end answers with `answerProbe`
 * @throws TransportError 'garbage', 'timeout', or why the link has ended
 */
export async function measureLink(channel: TensorChannel): Promise<LinkFigures> {
  const begin = performance.now();
  let roundTripMs = Infinity;
  const hasTime = () => performance.now() - begin < mostMs / 2;
  for (let i = 0; i === 0 || (i < roundTrips && hasTime()); i++)
    roundTripMs = Math.min(roundTripMs, await probe(channel, nothing));
  let bytesPerMs = 0;
  for (const bytes of burstBytes) {
    const payload = new Uint8Array(bytes);
    let burstMs = await probe(channel, payload);
    const isLast = burstMs - roundTripMs > longBurstMs || bytes === burstBytes.at(-1);
    for (let i = 1; isLast && i < repetitions && hasTime(); i++)
      burstMs = Math.min(burstMs, await probe(channel, payload));
    bytesPerMs = bytes / Math.max(burstMs - roundTripMs, burstMs / 10);
    if (isLast || performance.now() - begin > mostMs) break;
  }
  return { roundTripMs, bytesPerMs };
}

/** @returns milliseconds until the answer */
async function probe(channel: TensorChannel, payload: Uint8Array): Promise<number> {
  const begin = performance.now();
  const answer = nextOf(channel);
  await channel.send('linkProbe', {}, { body: payload, rows: 0, rowBytes: 0, encode: noRows });
  const { kind } = await answer;
  if (kind !== 'linkProbed') throw new TransportError('garbage', `a ${kind} here`);
  return performance.now() - begin;
}

/**
 * The next whole message on a channel; those after it wait for another handler.
 * @throws TransportError 'timeout' when none comes in time, or why the channel has ended
 */
export async function nextOf(channel: TensorChannel, timeoutMs = handshakeMs): Promise<Message> {
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise<Message>((resolve, reject) => {
      let first: Message | undefined;
      channel.onPart = ({ message, isLast }) => {
        first ??= message;
        if (!isLast || !first) return;
        channel.onPart = undefined;
        resolve(first);
      };
      void channel.closed.then(reject);
      const late = new TransportError('timeout', 'the link was not measured in time');
      timer = setTimeout(() => reject(late), timeoutMs);
    });
  } finally {
    clearTimeout(timer);
  }
}

function noRows(): void {
  // A probe has none.
}
