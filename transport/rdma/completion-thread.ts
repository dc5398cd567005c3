import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import { SpinTime } from './spin-time.js';
import { offsetOf, sizeOf } from './layouts.js';
import { waitReadable } from './system.js';
import { loadVerbs, operation, verbsValues, type Pointer } from './verbs.js';

/** What the thread is told. */
export type ThreadCommand =
  | {
      readonly kind: 'watch';
      readonly id: number;
      readonly context: Pointer;
      readonly queue: Pointer;
      /** Its events, with their file descriptor; 0 and -1 where the library has none. */
      readonly channel: Pointer;
      readonly descriptor: number;
    }
  | { readonly kind: 'forget'; readonly id: number };

/** What the thread tells: triples of request id, status and bytes, or that it has forgotten a queue. */
export interface CompletionBatch {
  readonly id: number;
  readonly forgotten: boolean;
  readonly completions: readonly number[];
}

interface Watched {
  readonly id: number;
  readonly queue: Pointer;
  readonly channel: Pointer;
  readonly descriptor: number;
  readonly poll: (...values: unknown[]) => number;
  readonly requestEvent: (...values: unknown[]) => number;
}

/** Completions taken at a time. */
const batchEntries = 16;

/** Longest sleep while there are events to wake the thread, and without them. */
const sleepMs = { events: 20, polling: 1 };

const port = parentPort as MessagePort;
const attention = workerData as Int32Array;
const watched: Watched[] = [];
const completions = Buffer.alloc(batchEntries * sizeOf('ibv_wc'));
const spinTime = new SpinTime();

run();

/** Looks at the queues for ever: without a pause shortly after something happened, else woken by events. */
function run(): never {
  for (;;) {
    obey();
    const found = watched.some(take);
    const now = performance.now();
    if (found) spinTime.found(now);
    else if (!spinTime.goesOn(now)) sleep();
  }
}

function obey(): void {
  // Looking for messages costs more than looking at this.
  if (Atomics.exchange(attention, 0, 0) === 0) return;
  spinTime.found(performance.now());
  for (;;) {
    const received = receiveMessageOnPort(port) as { message: ThreadCommand } | undefined;
    if (!received) return;
    const { message } = received;
    if (message.kind === 'watch') watch(message);
    else forget(message.id);
  }
}

function watch(command: ThreadCommand & { kind: 'watch' }): void {
  const { id, context, queue, channel, descriptor } = command;
  watched.push({
    id,
    queue,
    channel,
    descriptor,
    poll: operation(context, 'poll_cq'),
    requestEvent: operation(context, 'req_notify_cq'),
  });
}

function forget(id: number): void {
  const index = watched.findIndex((each) => each.id === id);
  if (index >= 0) watched.splice(index, 1);
  tell({ id, forgotten: true, completions: [] });
}

/** Takes what has completed, and tells of it. @returns whether there was something */
function take({ id, queue, poll }: Watched): boolean {
  const count = poll(queue, batchEntries, completions);
  if (count <= 0) return false;
  const told: number[] = [];
  for (let i = 0; i < count; i++) {
    const at = i * sizeOf('ibv_wc');
    const status = completions.readUInt32LE(at + offsetOf('ibv_wc', 'status'));
    const opcode = completions.readUInt32LE(at + offsetOf('ibv_wc', 'opcode'));
    // A frame that was sent is nobody's business before the other side says that it arrived.
    if (status === 0 && (opcode & verbsValues.receiveBit) === 0) continue;
    const request = completions.readUInt32LE(at + offsetOf('ibv_wc', 'wr_id'));
    told.push(request, status, completions.readUInt32LE(at + offsetOf('ibv_wc', 'byte_len')));
  }
  if (told.length > 0) tell({ id, forgotten: false, completions: told });
  return true;
}

function tell(batch: CompletionBatch): void {
  port.postMessage(batch);
}

function sleep(): void {
  const silent = watched.length === 0 || watched.some(({ descriptor }) => descriptor < 0);
  if (silent) {
    Atomics.wait(attention, 0, 0, watched.length === 0 ? Infinity : sleepMs.polling);
    return;
  }
  for (const { queue, requestEvent } of watched) requestEvent(queue, 0);
  // What completed before the request gives no event.
  if (watched.some(take)) return spinTime.found(performance.now());
  waitForEvents();
}

/** struct pollfd: descriptor, events wanted and events seen. */
const pollEntry = { bytes: 8, events: 4, seen: 6, readable: 1 };

function waitForEvents(): void {
  const entries = Buffer.alloc(watched.length * pollEntry.bytes);
  for (const [i, { descriptor }] of watched.entries()) {
    entries.writeInt32LE(descriptor, i * pollEntry.bytes);
    entries.writeInt16LE(pollEntry.readable, i * pollEntry.bytes + pollEntry.events);
  }
  if (waitReadable(entries, watched.length, sleepMs.events) <= 0) return;
  const { takeEvent, acknowledgeEvents } = loadVerbs();
  for (const [i, { channel, queue }] of watched.entries()) {
    const seen = entries.readInt16LE(i * pollEntry.bytes + pollEntry.seen);
    if ((seen & pollEntry.readable) === 0) continue;
    if (takeEvent?.(channel, [null], [null]) === 0) acknowledgeEvents?.(queue, 1);
  }
}
