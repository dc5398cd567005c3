import { crc32 } from 'node:zlib';
import { TransportError } from '../errors.js';

/**
 * What goes over a queue pair at a time: a message, or a part of one that is longer than a slot. Little-endian:
 * u32 CRC-32 of all that follows, u32 sequence number (0: says nothing but what arrived), u32 frames that arrived from
 * the other side so far, u16 bytes of the message's header, u8 flags, u8 unused, u32 bytes of payload; then the header,
 * and at the next multiple of 8 the payload, which can be seen as numbers there.
 */
export interface Frame {
  readonly sequence: number;
  /** The other side's frames that have arrived, all up to this number. */
  readonly arrived: number;
  readonly flags: number;
  readonly header: Uint8Array;
  readonly payload: Uint8Array;
}

export const frameFlags = {
  /** The message ends here. */
  last: 1,
  /** Asks for a frame with `echo`. */
  probe: 2,
  echo: 4,
} as const;

const frameHeaderBytes = 20;

/** Where a message's header is within a frame. */
export function headerOf(frame: Uint8Array, headerBytes: number): Uint8Array {
  return frame.subarray(frameHeaderBytes, frameHeaderBytes + headerBytes);
}

/** Where the payload behind a header of so many bytes begins. */
export function payloadAt(headerBytes: number): number {
  return Math.ceil((frameHeaderBytes + headerBytes) / 8) * 8;
}

/** Completes a frame whose header and payload are in place. @returns its bytes */
export function sealFrame(
  slot: Uint8Array,
  frame: {
    readonly sequence: number;
    readonly arrived: number;
    readonly flags: number;
    readonly headerBytes: number;
    readonly payloadBytes: number;
  },
): number {
  const bytes = payloadAt(frame.headerBytes) + frame.payloadBytes;
  const view = new DataView(slot.buffer, slot.byteOffset, frameHeaderBytes);
  view.setUint32(4, frame.sequence, true);
  view.setUint32(8, frame.arrived, true);
  view.setUint16(12, frame.headerBytes, true);
  view.setUint8(14, frame.flags);
  view.setUint8(15, 0);
  view.setUint32(16, frame.payloadBytes, true);
  view.setUint32(0, crc32(slot.subarray(4, bytes)), true);
  return bytes;
}

/** Whether a frame, before it is checked, has no number: it says only what arrived. */
export function isNotice(bytes: Uint8Array): boolean {
  return bytes.byteLength >= 8 && bytes.subarray(4, 8).every((byte) => byte === 0);
}

/** @param bytes as they arrived @throws TransportError 'garbage' when they are no frame, or damaged */
export function parseFrame(bytes: Uint8Array): Frame {
  if (bytes.byteLength < frameHeaderBytes) throw damaged('a frame is too short');
  const view = new DataView(bytes.buffer, bytes.byteOffset, frameHeaderBytes);
  const headerBytes = view.getUint16(12, true);
  const payloadBytes = view.getUint32(16, true);
  if (payloadAt(headerBytes) + payloadBytes !== bytes.byteLength)
    throw damaged('a frame has another length than it says');
  if (view.getUint32(0, true) !== crc32(bytes.subarray(4))) throw damaged('a frame is damaged');
  return {
    sequence: view.getUint32(4, true),
    arrived: view.getUint32(8, true),
    flags: view.getUint8(14),
    header: headerOf(bytes, headerBytes),
    payload: bytes.subarray(payloadAt(headerBytes)),
  };
}

function damaged(what: string): TransportError {
  return new TransportError('garbage', what);
}
