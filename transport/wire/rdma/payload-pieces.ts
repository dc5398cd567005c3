import { rowsAt, type OutgoingPayload } from '../tensor-channel.js';

/** A payload that goes into one slot after the other: rows are encoded where they are sent from, if they fit a slot. */
export class PayloadPieces {
  readonly #bodyBytes: number;
  readonly #isCut: boolean;
  #bodySent = 0;
  #rowsSent = 0;
  /** One row, where not even that fits a slot: it is encoded aside, and cut. */
  #row: Uint8Array | undefined;
  #rowSent = 0;

  /** @param mostRoom bytes that a slot has for payload at most */
  constructor(
    private readonly payload: OutgoingPayload,
    mostRoom: number,
  ) {
    this.#bodyBytes = rowsAt(payload.body.byteLength);
    this.#isCut = payload.rowBytes > mostRoom;
  }

  get isDone(): boolean {
    return this.#bodySent === this.#bodyBytes && this.#rowsSent === this.payload.rows;
  }

  /** Takes what fits into a slot. @returns its bytes */
  fill(room: Uint8Array): number {
    const bodyBytes = this.#fillBody(room);
    const rest = room.subarray(bodyBytes);
    return bodyBytes + (this.#isCut ? this.#fillCutRows(rest) : this.#fillRows(rest));
  }

  #fillBody(room: Uint8Array): number {
    const bytes = Math.min(this.#bodyBytes - this.#bodySent, room.byteLength);
    room.set(this.payload.body.subarray(this.#bodySent, this.#bodySent + bytes));
    this.#bodySent += bytes;
    return bytes;
  }

  #fillRows(room: Uint8Array): number {
    const { rows, rowBytes } = this.payload;
    const rowsLeft = rows - this.#rowsSent;
    if (rowsLeft === 0) return 0;
    const count = Math.min(rowsLeft, Math.floor(room.byteLength / rowBytes));
    const bytes = count * rowBytes;
    if (count > 0) this.payload.encode(room.subarray(0, bytes), this.#rowsSent, count);
    this.#rowsSent += count;
    return bytes;
  }

  #fillCutRows(room: Uint8Array): number {
    const { rows, rowBytes } = this.payload;
    const row = (this.#row ??= new Uint8Array(rowBytes));
    let bytes = 0;
    while (bytes < room.byteLength && this.#rowsSent < rows) {
      if (this.#rowSent === 0) this.payload.encode(row, this.#rowsSent, 1);
      const piece = row.subarray(this.#rowSent, this.#rowSent + room.byteLength - bytes);
      room.set(piece, bytes);
      bytes += piece.byteLength;
      this.#rowSent = (this.#rowSent + piece.byteLength) % rowBytes;
      if (this.#rowSent === 0) this.#rowsSent++;
    }
    return bytes;
  }
}
