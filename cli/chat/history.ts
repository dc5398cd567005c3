import fs from 'node:fs';
import { writePrivateFile } from './private-file.js';

/** Entries that are kept. */
export const historySize = 1000;

/** What was typed, for the arrow keys, kept in a file that only its owner can read. */
export class HistoryFile {
  constructor(private readonly file: string) {}

  /** Entries, the newest first; none when the file cannot be read. */
  read(): string[] {
    try {
      return fs.readFileSync(this.file, 'utf8').split('\n').filter(Boolean).reverse();
    } catch {
      return [];
    }
  }

  /** Keeps entries, the newest first. A chat goes on without history where it cannot be written. */
  write(entries: readonly string[]): void {
    const lines = entries.slice(0, historySize).reverse();
    try {
      writePrivateFile(this.file, lines.map((line) => `${line}\n`).join(''));
    } catch {
      return;
    }
  }
}
