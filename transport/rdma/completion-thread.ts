import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import { CompletionRing } from './completion-ring.js';
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

/** What the thread tells: it has forgotten this queue. */
export type Forgotten = number;

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

/** Longest wait for the main thread: it may have much to do for one frame. */
const handledMs = 1;

/** Longest sleep while there are events to wake the thread, and without them. */
const sleepMs = { events: 20, polling: 1 };

const port = parentPort as MessagePort;
const ring = new CompletionRing(workerData as SharedArrayBuffer);
const watched: Watched[] = [];
const completions = Buffer.alloc(batchEntries * sizeOf('ibv_wc'));
const spinTime = new SpinTime();
const offsets = {
  request: offsetOf('ibv_wc', 'wr_id'),
  status: offsetOf('ibv_wc', 'status'),
  opcode: offsetOf('ibv_wc', 'opcode'),
  bytes: offsetOf('ibv_wc', 'byte_len'),
};

/** Looks at the queues until told to end: without a pause shortly after something happened, else woken by events. */
function run(): void {
  while (!ring.isEnding) {
    if (ring.takeCommands()) obey();
    const found = takeAll();
    const now = performance.now();
    if (found) ring.waitHandled(handledMs);
    if (found || ring.takeSending()) spinTime.found(now);
    else if (!spinTime.goesOn(now)) sleep();
  }
}

function obey(): void {
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
  port.postMessage(id satisfies Forgotten);
}

/** Takes what has completed, and tells of it. @returns whether there was something */
function takeAll(): boolean {
  let found = false;
  for (const each of watched) if (take(each)) found = true;
  return found;
}

function take({ id, queue, poll }: Watched): boolean {
  const count = poll(queue, batchEntries, completions);
  if (count <= 0) return false;
  let told = false;
  for (let i = 0; i < count; i++) {
    const at = i * sizeOf('ibv_wc');
    const status = completions.readUInt32LE(at + offsets.status);
    const opcode = completions.readUInt32LE(at + offsets.opcode);
    // A frame that was sent is nobody's business before the other side says that it arrived.
    if (status === 0 && (opcode & verbsValues.receiveBit) === 0) continue;
    const request = completions.readUInt32LE(at + offsets.request);
    ring.write({ queue: id, request, status, bytes: completions.readUInt32LE(at + offsets.bytes) });
    told = true;
  }
  if (told) ring.notify();
  return true;
}

function sleep(): void {
  const silent = watched.length === 0 || watched.some(({ descriptor }) => descriptor < 0);
  if (silent) {
    return ring.sleep(watched.length === 0 ? Infinity : sleepMs.polling);
  }
  for (const { queue, requestEvent } of watched) requestEvent(queue, 0);
  // What completed before the request gives no event.
  if (takeAll()) return spinTime.found(performance.now());
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

// koffi crashes where a thread calls through a pointer before it has called a library's function.
waitReadable(Buffer.alloc(0), 0, 0);
run();
ring.ended();
