/** Text on its way, in which markers are looked for. */
export class MarkedText {
  #rest = '';

  /** What has not been taken. */
  get rest(): string {
    return this.#rest;
  }

  push(piece: string): void {
    this.#rest += piece;
  }

  /** Takes so many characters. */
  take(length: number): string {
    const taken = this.#rest.slice(0, length);
    this.#rest = this.#rest.slice(length);
    return taken;
  }

  /** Takes the text before the first of some markers, and that marker; nothing when none is there yet. */
  takeTo(markers: readonly string[]): { before: string; marker: string } | undefined {
    let at = Infinity;
    let found = '';
    for (const marker of markers) {
      const index = this.#rest.indexOf(marker);
      if (index < 0 || index >= at) continue;
      at = index;
      found = marker;
    }
    if (found === '') return undefined;
    const before = this.take(at);
    this.take(found.length);
    return { before, marker: found };
  }

  /** Takes all that cannot be the beginning of a marker. */
  takeBefore(markers: readonly string[]): string {
    return this.take(this.#safeLength(markers));
  }

  /** The same, without blanks at the end, where they could belong to a marker. */
  takeTrimmed(markers: readonly string[]): string {
    if (markers.length === 0) return this.take(Infinity);
    return this.take(this.#rest.slice(0, this.#safeLength(markers)).trimEnd().length);
  }

  #safeLength(markers: readonly string[]): number {
    return this.#rest.length - Math.max(0, ...markers.map((marker) => overlap(this.#rest, marker)));
  }
}

/** How many characters at the end of a text a marker begins with. */
function overlap(text: string, marker: string): number {
  for (let length = Math.min(text.length, marker.length - 1); length > 0; length--)
    if (text.endsWith(marker.slice(0, length))) return length;
  return 0;
}
