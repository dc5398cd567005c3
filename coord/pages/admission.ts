/** A text that has cells, or waits for some. */
export interface Guest {
  /** Counts up: of two, the smaller is the older. */
  readonly order: number;
  /** Outside it has nothing that others may not take; inside, what it has is its own. */
  readonly place: 'outside' | 'inside' | 'leaving';
  /** Whether it waits for cells. */
  readonly isWaiting: boolean;
  /** Whether nobody takes its tokens at present. */
  readonly isPaused: boolean;
  /** Gives it the cells that it waits for. @returns whether there are enough */
  admit(): boolean;
  /** Asks it to leave; it waits for cells again when it has. */
  dismiss(): void;
}

/**
 * Who gets cells, now that some may have become free: the policy alone. Those inside come first, the oldest before others; when
 * one needs more than there is, those leave whose readers do not read, then the youngest, it may be itself. So the
 * oldest always gets on. Those outside come in one after the other, and wait for others to end rather than have them leave.
 */
export function admitGuests(guests: Iterable<Guest>): void {
  const all = [...guests].sort((a, b) => a.order - b.order);
  const inside = all.filter(({ place }) => place === 'inside');
  for (const guest of inside) {
    if (!guest.isWaiting || guest.place !== 'inside' || guest.admit()) continue;
    // Whoever leaves makes room soon.
    if (all.some(({ place }) => place === 'leaving')) return;
    const last = inside.findLast(({ isPaused }) => isPaused) ?? inside.at(-1) ?? guest;
    last.dismiss();
    if (last !== guest) return;
  }
  // Nobody overtakes those who grow, nor those who came before.
  if (all.some(({ place, isWaiting }) => place !== 'outside' && isWaiting)) return;
  for (const guest of all)
    if (guest.place === 'outside' && guest.isWaiting && !guest.admit()) return;
}
