/**
 * How many leading tokens of a text somebody has, such as those whose keys and values are in a stage's cells. When the
 * text loses tokens, so does every mark on it.
 */
export class Mark {
  #at = 0;
  #furthest = 0;

  /** @param rewind tokens that can be lost; whoever loses more has nothing any more */
  constructor(private readonly rewind = Infinity) {}

  get at(): number {
    return this.#at;
  }
  set at(tokens: number) {
    this.#furthest = tokens === 0 ? 0 : Math.max(this.#furthest, tokens);
    this.#at = this.#furthest - tokens > this.rewind ? 0 : tokens;
    if (this.#at === 0) this.#furthest = 0;
  }
}

/** What `confirm` says of the guess that stood at the token's place. */
export type Confirmation = 'right' | 'wrong' | 'no guess';

/** The tokens of one text: certain ones, then guesses. It is kept once; whoever has something of it keeps a mark. */
export class TokenText {
  #tokens: Int32Array;
  #length: number;
  #certain: number;
  readonly #marks: Mark[] = [];

  /** @param tokens certain ones */
  constructor(tokens: ArrayLike<number> = []) {
    this.#tokens = Int32Array.from(tokens);
    this.#length = tokens.length;
    this.#certain = tokens.length;
  }

  /** Tokens, with the guesses. */
  get length(): number {
    return this.#length;
  }

  /** Leading tokens that are certain. */
  get certain(): number {
    return this.#certain;
  }

  /** All tokens, guesses too: a view that is valid until the text changes. */
  get tokens(): Int32Array {
    return this.#tokens.subarray(0, this.#length);
  }

  at(index: number): number | undefined {
    return index < this.#length ? this.#tokens[index] : undefined;
  }

  /**
   * A mark at the beginning, which follows the text as long as the text lives.
   * @param rewind tokens that it can go back
   */
  mark(rewind?: number): Mark {
    const mark = new Mark(rewind);
    this.#marks.push(mark);
    return mark;
  }

  /** Adds a guess. */
  guess(token: number): void {
    this.#push(token);
  }

  /** The next token is certain now; a wrong guess in its place goes, with all that follow it. */
  confirm(token: number): Confirmation {
    const guess = this.at(this.#certain);
    if (guess !== token) {
      this.#cut(this.#certain);
      this.#push(token);
    }
    this.#certain++;
    return guess === undefined ? 'no guess' : guess === token ? 'right' : 'wrong';
  }

  /** Drops all tokens behind the first `length`, which are certain. */
  truncate(length: number): void {
    this.#cut(length);
    this.#certain = Math.min(this.#certain, this.#length);
  }

  /** Makes this another text: keeps the tokens that both begin with. */
  replace(tokens: Int32Array): void {
    const same = commonPrefix(this.tokens.subarray(0, this.#certain), tokens);
    this.#cut(same);
    this.#reserve(tokens.length);
    this.#tokens.set(tokens.subarray(same), same);
    this.#length = tokens.length;
    this.#certain = tokens.length;
  }

  #cut(length: number): void {
    this.#length = Math.min(this.#length, length);
    for (const mark of this.#marks) mark.at = Math.min(mark.at, this.#length);
  }

  #push(token: number): void {
    this.#reserve(this.#length + 1);
    this.#tokens[this.#length++] = token;
  }

  #reserve(length: number): void {
    if (length <= this.#tokens.length) return;
    const larger = new Int32Array(Math.max(256, length, 2 * this.#tokens.length));
    larger.set(this.tokens);
    this.#tokens = larger;
  }
}

/** How many leading tokens two texts share. */
export function commonPrefix(a: Int32Array, b: Int32Array): number {
  const most = Math.min(a.length, b.length);
  let same = 0;
  while (same < most && a[same] === b[same]) same++;
  return same;
}
