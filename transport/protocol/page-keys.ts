/** Pages that one message may name: their keys, and what else there is of them, fit into a frame's header. */
export const mostPages = 1024;

const keyBytes = 32;

/** Keys one after the other. @param keys 64 hex digits each */
export function joinKeys(keys: readonly string[]): Uint8Array {
  return Buffer.from(keys.join(''), 'hex');
}

/** @returns undefined when these are no keys, or too many */
export function splitKeys(bytes: Uint8Array): string[] | undefined {
  const count = bytes.byteLength / keyBytes;
  if (!Number.isInteger(count) || count > mostPages) return undefined;
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
  return Array.from({ length: count }, (_, i) =>
    hex.slice(2 * keyBytes * i, 2 * keyBytes * (i + 1)),
  );
}
