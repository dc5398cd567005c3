import fs from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { EventLoopShare } from '../../engine/event-loop-share.js';
import { writeWhole } from '../../engine/write-whole.js';

/** Changes whenever files are written in another way. */
const version = 1;

const magic = Buffer.from('daisykv\0');

/**
 * What a file begins with: 0 magic, 8 version u32, 12 CRC-32 of the data u32, 16 bytes of the data f64, 24 identity of
 * the stage, 56 key of the page, 88 CRC-32 of all that u32; little-endian.
 */
const headerBytes = 92;

/** The event loop must not wait for more than this at a time. */
const pieceBytes = 1 << 20;

/** What a file is about: SHA-256s, as 64 hex digits each. */
export interface PageName {
  /** Of the stage whose layers' keys and values these are. */
  readonly identity: string;
  /** Of the text up to the end of the page. */
  readonly key: string;
}

/** Bytes of the file of a page. @param bytes of its keys and values */
export function fileBytes(bytes: number): number {
  return headerBytes + bytes;
}

/** Writes a page's file, whole or not at all. @throws Error of the file system; nothing is left then */
export async function writePageFile(file: string, name: PageName, data: Uint8Array): Promise<void> {
  const header = headerOf(name, data.byteLength, await checksum(data));
  await writeWhole(file, async (temporary) => {
    const handle = await fs.open(temporary, 'wx', 0o600);
    try {
      await handle.appendFile(header);
      await handle.appendFile(data);
    } finally {
      await handle.close();
    }
  });
}

/**
 * Reads a page's file, and checks all of it.
 * @param bytes of the page's keys and values
 * @throws Error that says in a few words what is wrong with the file, or that of the file system
 */
export async function readPageFile(
  file: string,
  name: PageName,
  bytes: number,
): Promise<Uint8Array> {
  const handle = await fs.open(file);
  try {
    const { size } = await handle.stat();
    if (size !== fileBytes(bytes)) throw new Error(`has ${size} bytes, not ${fileBytes(bytes)}`);
    const header = await readBytes(handle, headerBytes, 0);
    const data = await readBytes(handle, bytes, headerBytes);
    if (!header.equals(headerOf(name, bytes, await checksum(data))))
      throw new Error('is damaged, or of another page');
    return data;
  } finally {
    await handle.close();
  }
}

function headerOf({ identity, key }: PageName, bytes: number, dataChecksum: number): Buffer {
  const header = Buffer.alloc(headerBytes);
  magic.copy(header);
  header.writeUInt32LE(version, 8);
  header.writeUInt32LE(dataChecksum, 12);
  header.writeDoubleLE(bytes, 16);
  header.write(identity, 24, 32, 'hex');
  header.write(key, 56, 32, 'hex');
  header.writeUInt32LE(crc32(header.subarray(0, 88)), 88);
  return header;
}

async function readBytes(handle: fs.FileHandle, bytes: number, from: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(bytes);
  for (let at = 0; at < bytes;) {
    const { bytesRead } = await handle.read(buffer, at, bytes - at, from + at);
    if (bytesRead === 0) throw new Error(`ends after ${from + at} bytes`);
    at += bytesRead;
  }
  return buffer;
}

/** CRC-32, in pieces between which everything else has its turns. */
async function checksum(data: Uint8Array): Promise<number> {
  let crc = 0;
  for (let at = 0; at < data.byteLength; at += pieceBytes) {
    await EventLoopShare.running.enter();
    const begin = performance.now();
    crc = crc32(data.subarray(at, at + pieceBytes), crc);
    EventLoopShare.running.used(performance.now() - begin);
  }
  return crc;
}
