/** Whose rows they are, and how urgent. */
export interface Terms {
  /** Higher ones come first, default 0; lower ones wait longer, not for ever. */
  readonly priority?: number;
  /** What is asked for under one name gets one share together; default: every sequence has its own. */
  readonly client?: string;
}

/** A place in the order. */
export interface Ticket {
  /** The smallest is served first; among equals, who came first. */
  readonly due: number;
  /** The time at which it would be served, were nobody more urgent. */
  readonly end: number;
}

/**
 * In which order those who wait are served, short ones first, and nobody waits for ever: time is what has been served, and
 * whoever asks for n rows is due n rows later (self-clocked fair queueing, Golestani 1994).
 */
export class FairOrder {
  #now = 0;
  /** By client, the end of its last ticket. */
  readonly #ends = new Map<string, number>();

  /** @param perPriority by how much each unit of priority brings a ticket forward */
  constructor(private readonly perPriority: number) {}

  /** Somebody asks for so many rows. */
  enter(rows: number, { priority = 0, client }: Terms = {}): Ticket {
    const begin = Math.max(this.#now, client === undefined ? 0 : (this.#ends.get(client) ?? 0));
    const end = begin + rows;
    if (client !== undefined) this.#ends.set(client, end);
    return { due: end - priority * this.perPriority, end };
  }

  /** Rows of a ticket are being computed. @param left rows that are not, yet */
  served({ end }: Ticket, left: number): void {
    this.#now = Math.max(this.#now, end - left);
    for (const [client, last] of this.#ends) if (last <= this.#now) this.#ends.delete(client);
  }
}
