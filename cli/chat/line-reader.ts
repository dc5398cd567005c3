import { createInterface, type Interface } from 'node:readline';
import { Writable } from 'node:stream';
import type { HistoryFile } from './history.js';
import { historySize } from './history.js';

/** Passes on what readline draws, except while an answer is being written. */
class PromptOutput extends Writable {
  muted = false;

  constructor(private readonly target: NodeJS.WriteStream) {
    super({ decodeStrings: false });
    target.on('resize', () => this.emit('resize'));
  }

  get columns(): number {
    return this.target.columns;
  }

  override _write(chunk: string, _: BufferEncoding, done: () => void): void {
    if (!this.muted) this.target.write(chunk);
    done();
  }
}

/** Lines from a terminal, with editing and history, or from anything else, as they come. */
export class LineReader implements Disposable {
  /** Called for Ctrl-C on the terminal. */
  onInterrupt: () => void = () => undefined;
  readonly #readline: Interface;
  readonly #output: PromptOutput | undefined;
  readonly #lines: string[] = [];
  #deliver: ((line: string | undefined) => void) | undefined;
  #ended = false;

  constructor(
    input: NodeJS.ReadStream,
    output: NodeJS.WriteStream,
    readonly isTerminal: boolean,
    history: HistoryFile,
  ) {
    if (isTerminal) {
      this.#output = new PromptOutput(output);
      this.#readline = createInterface({
        input,
        output: this.#output,
        terminal: true,
        history: history.read(),
        historySize,
        removeHistoryDuplicates: true,
      });
      this.#readline.on('history', (entries) => history.write(entries));
      this.#readline.on('SIGINT', () => this.onInterrupt());
    } else this.#readline = createInterface({ input, terminal: false });
    this.#readline.on('line', (line) => this.#push(line));
    this.#readline.on('close', () => this.#push(undefined));
  }

  /** Whether something is typed already on the current line. */
  get hasText(): boolean {
    return this.#readline.line !== '';
  }

  /** The next line; undefined when there are no more. Lines typed ahead come first. */
  read(prompt: string): Promise<string | undefined> {
    const line = this.#lines.shift();
    this.#setMuted(false);
    if (line !== undefined || this.#ended) {
      // It was not shown when it was typed.
      if (line !== undefined) this.#output?.write(`${prompt}${line}\n`);
      return Promise.resolve(line);
    }
    if (this.isTerminal) {
      this.#readline.setPrompt(prompt);
      this.#readline.prompt(true);
    }
    return new Promise((resolve) => (this.#deliver = resolve));
  }

  /** Drops what is typed on the current line, and shows a fresh one. */
  clearLine(): void {
    if (!this.isTerminal) return;
    // Ctrl-E, Ctrl-U: readline has no other way to empty its line.
    this.#readline.write(null, { ctrl: true, name: 'e' });
    this.#readline.write(null, { ctrl: true, name: 'u' });
  }

  [Symbol.dispose](): void {
    this.#readline.close();
  }

  #push(line: string | undefined): void {
    if (line === undefined) this.#ended = true;
    const deliver = this.#deliver;
    this.#deliver = undefined;
    // The cursor still stands behind the prompt.
    if (deliver && line === undefined) this.#output?.write('\n');
    // From now on the terminal belongs to whoever asked for the line.
    this.#setMuted(true);
    if (deliver) deliver(line);
    else if (line !== undefined) this.#lines.push(line);
  }

  #setMuted(muted: boolean): void {
    if (this.#output) this.#output.muted = muted;
  }
}
