import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import { EventSignals } from './event-signals.js';
import { waitReadable } from './system.js';
import { loadVerbs, type Pointer } from './verbs.js';

/** What the thread is told. */
export type EventCommand =
  | {
      readonly kind: 'watch';
      readonly id: number;
      readonly queue: Pointer;
      /** Where the queue's events come from, and its file descriptor. */
      readonly channel: Pointer;
      readonly descriptor: number;
    }
  | { readonly kind: 'forget'; readonly id: number };

/** What the thread tells: it has forgotten this queue. */
export type Forgotten = number;

/** Longest wait for events: commands are looked at in between. */
const waitMs = 100;

/** struct pollfd: descriptor, events wanted and events seen. */
const pollEntry = { bytes: 8, events: 4, seen: 6, readable: 1 };

const port = parentPort as MessagePort;
const signals = new EventSignals(workerData as SharedArrayBuffer);
const watched: (EventCommand & { kind: 'watch' })[] = [];

/** Sleeps until a device signals that something has completed, and passes that on. */
function run(): void {
  while (!signals.isEnding) {
    if (signals.takeCommands()) obey();
    if (watched.length === 0) signals.waitForCommands();
    else waitForEvents();
  }
}

function obey(): void {
  for (;;) {
    const received = receiveMessageOnPort(port) as { message: EventCommand } | undefined;
    if (!received) return;
    const { message } = received;
    if (message.kind === 'watch') watched.push(message);
    else forget(message.id);
  }
}

function forget(id: number): void {
  const index = watched.findIndex((each) => each.id === id);
  if (index >= 0) watched.splice(index, 1);
  port.postMessage(id satisfies Forgotten);
}

function waitForEvents(): void {
  const entries = Buffer.alloc(watched.length * pollEntry.bytes);
  for (const [i, { descriptor }] of watched.entries()) {
    entries.writeInt32LE(descriptor, i * pollEntry.bytes);
    entries.writeInt16LE(pollEntry.readable, i * pollEntry.bytes + pollEntry.events);
  }
  if (waitReadable(entries, watched.length, waitMs) <= 0) return;
  signals.event();
  const { takeEvent, acknowledgeEvents } = loadVerbs();
  for (const [i, { channel, queue }] of watched.entries()) {
    const seen = entries.readInt16LE(i * pollEntry.bytes + pollEntry.seen);
    if ((seen & pollEntry.readable) === 0) continue;
    if (takeEvent?.(channel, [null], [null]) === 0) acknowledgeEvents?.(queue, 1);
  }
}

run();
signals.ended();
