import os from 'node:os';
import { TransportError } from './errors.js';
import type { Messages } from './messages.js';

/** A step as it travels: a batch of one sequence with the id that the coordinator gave it. */
export interface Step {
  readonly id: number;
  /** The step whose last choice this step's first token guesses; 0 when it guesses nothing. */
  readonly follows: number;
  readonly tokens: Int32Array;
  readonly positions: Int32Array;
  readonly cells: Int32Array;
  readonly windowStart: number;
  readonly windowLength: number;
  readonly visibleCounts: Int32Array;
  readonly visible: Int32Array;
  readonly outputs: Int32Array;
  readonly recentTokens: Int32Array;
  readonly sampling: Messages['step']['sampling'];
  readonly calibratesKv?: boolean;
}

if (os.endianness() !== 'LE') throw new Error('daisychain needs a little-endian machine');

/** The bytes of an array, little-endian, without a copy. */
export function toBytes(values: Int32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/**
 * @param bytes from a decoded message, where an absent field is an empty array
 * @throws TransportError 'garbage' when the bytes are not whole numbers of 4.
 */
export function fromBytes(bytes: ArrayLike<number>): Int32Array {
  if (bytes.length % 4 !== 0) throw new TransportError('garbage', 'an array of broken length');
  const values = new Int32Array(bytes.length / 4);
  toBytes(values).set(bytes);
  return values;
}

/**
 * The message of a step. It refers to the step's arrays: send it before they change.
 * @param receipt whether the receiver is to say at once that it has arrived
 */
export function stepMessage(step: Step, receipt: boolean): Messages['step'] {
  return {
    id: step.id,
    follows: step.follows,
    tokens: toBytes(step.tokens),
    positions: toBytes(step.positions),
    cells: toBytes(step.cells),
    windowStart: step.windowStart,
    windowLength: step.windowLength,
    visibleCounts: toBytes(step.visibleCounts),
    visible: toBytes(step.visible),
    outputs: toBytes(step.outputs),
    recentTokens: toBytes(step.recentTokens),
    sampling: step.sampling,
    calibratesKv: step.calibratesKv ?? false,
    receipt,
  };
}

/** @throws TransportError 'garbage' */
export function readStep(message: Messages['step']): Step {
  return {
    id: message.id,
    follows: message.follows,
    tokens: fromBytes(message.tokens),
    positions: fromBytes(message.positions),
    cells: fromBytes(message.cells),
    windowStart: message.windowStart,
    windowLength: message.windowLength,
    visibleCounts: fromBytes(message.visibleCounts),
    visible: fromBytes(message.visible),
    outputs: fromBytes(message.outputs),
    recentTokens: fromBytes(message.recentTokens),
    sampling: message.sampling,
    calibratesKv: message.calibratesKv,
  };
}
