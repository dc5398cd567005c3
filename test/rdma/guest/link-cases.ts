import { monitorEventLoopDelay } from 'node:perf_hooks';
import { encodeBody } from '../../../transport/protocol/steps.js';
import { TensorReceiver, TensorSender } from '../../../transport/protocol/tensor-link.js';
import { f16 } from '../../../transport/wire/codecs/f16.js';
import type { QueueKind } from '../../../transport/wire/rdma/queue-pair.js';
import type { TensorChannel } from '../../../transport/wire/tensor-channel.js';
import { Random } from '../../support/random.js';
import { stepOf } from '../../transport/support/steps.js';
import { openLink, sendRows, type Link } from './links.js';

/** What is checked, by its name. Each throws when something is not as it should be. @returns what to report */
export type Cases = Readonly<Record<string, () => Promise<string>>>;

/** What any two devices must do. */
export const linkCases: Cases = {
  'frames arrive intact over rc': () => exchange('rc', 5000),
  'frames arrive intact over uc': () => exchange('uc', 5000),
  'frames arrive intact over two links at once': async () => {
    const bytes = await Promise.all([exchange('rc', 500), exchange('uc', 500)]);
    return bytes.join(' and ');
  },
  'steps of 8,192 tokens arrive over rc in slots of 4 kB': () => longSteps('rc'),
  'steps of 8,192 tokens arrive over uc in slots of 4 kB': () => longSteps('uc'),
  'all sends settle when the connection ends in the middle': endedLink,
};

/** Sends messages of 1 byte to 4 MB, and compares what arrives. */
async function exchange(queue: QueueKind, count: number): Promise<string> {
  await using link = await openLink(queue);
  // What the compiler does at first takes far longer on an emulated machine.
  await sendAll(link, messagesOf(count / 5, 2));
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const bytes = await sendAll(link, messagesOf(count, 1));
  // UC may lose frames on a busy machine.
  if (link.warnings.length > 0 && queue === 'rc') throw new Error(link.warnings.join());
  return `${count} messages, ${bytes} bytes, event loop delay p99 ${(delay.percentile(99) / 1e6).toFixed(1)} ms; ${link.warnings.join()}`;
}

export function messagesOf(count: number, seed: number): { bytes: Uint8Array; rows: number }[] {
  const random = new Random(seed);
  return Array.from({ length: count }, (_, i) => {
    const most = i % 500 === 499 ? 22 : i % 50 === 49 ? 18 : 13;
    const rows = random.between(1, 8);
    const rowBytes = Math.max(1, Math.floor(2 ** (most * random.share()) / rows));
    const bytes = new Uint8Array(rows * rowBytes);
    for (let at = 0; at < bytes.length; at += 61) bytes[at] = random.between(1, 255);
    return { bytes, rows };
  });
}

export async function sendAll(
  { near, far }: Pick<Link, 'near' | 'far'>,
  messages: readonly { bytes: Uint8Array; rows: number }[],
): Promise<number> {
  const received = receiveAll(far, messages);
  let bytes = 0;
  for (const [i, message] of messages.entries()) {
    await sendRows(near, i + 1, message.bytes, message.rows);
    bytes += message.bytes.byteLength;
  }
  await received;
  return bytes;
}

function receiveAll(far: TensorChannel, messages: readonly { bytes: Uint8Array }[]): Promise<void> {
  return new Promise((resolve, reject) => {
    let next = 0;
    let parts: Uint8Array[] = [];
    far.onPart = ({ message, payload, isLast }) => {
      if (message && (message.kind !== 'credit' || message.body.steps !== next + 1))
        reject(new Error(`message ${next + 1} is missing`));
      parts.push(payload.slice());
      if (!isLast) return;
      const expected = messages[next++]?.bytes;
      if (!expected || Buffer.compare(Buffer.concat(parts), expected) !== 0)
        reject(new Error(`message ${next} is damaged`));
      parts = [];
      if (next === messages.length) resolve();
    };
  });
}

/** Steps whose bodies, and rows, are longer than a slot. */
async function longSteps(queue: QueueKind): Promise<string> {
  const rowSize = 4096;
  const lengths = [1, 8192, 170, 2730, 1];
  await using link = await openLink(queue, 4096);
  const arrived: string[] = [];
  const received = new Promise<void>((resolve) => {
    new TensorReceiver(link.far, f16, rowSize, (step, hidden, release) => {
      const isSame = Buffer.compare(encodeBody(step), encodeBody(longStep(step.id))) === 0;
      const rows = lengths[step.id - 1] ?? 0;
      const isWhole = hidden.length === rows * rowSize && hidden.every((value) => value === 0.5);
      arrived.push(`${step.id}: ${isSame && isWhole ? 'right' : 'wrong'}`);
      release();
      if (step.id === lengths.length) resolve();
    });
  });
  const longStep = (id: number) => stepOf(lengths[id - 1] ?? 0, id);
  const sender = new TensorSender(link.near, f16, rowSize);
  for (const [i, rows] of lengths.entries())
    await sender.send(longStep(i + 1), new Float32Array(rows * rowSize).fill(0.5));
  await received;
  const said = arrived.join();
  if (said !== lengths.map((_, i) => `${i + 1}: right`).join()) throw new Error(said);
  return `${lengths.join(', ')} tokens; ${link.warnings.join()}`;
}

/** To a receiver that takes a few steps and computes none. */
async function endedLink(): Promise<string> {
  const rowSize = 4096;
  const rows = 300;
  await using link = await openLink('rc', 4096);
  const sender = new TensorSender(link.near, f16, rowSize);
  const hidden = new Float32Array(rows * rowSize);
  let arrived = 0;
  const first = new Promise<void>((resolve) => {
    new TensorReceiver(link.far, f16, rowSize, () => {
      if (++arrived === 2) resolve();
    });
  });
  const sends = Array.from({ length: 30 }, (_, i) => sender.send(stepOf(rows, i + 1), hidden));
  await first;
  link.connection.close('enough');
  await Promise.all(sends);
  await sender.send(stepOf(rows, 31), hidden);
  return `${arrived} of 31 steps arrived`;
}
