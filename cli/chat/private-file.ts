import fs from 'node:fs';
import path from 'node:path';

/** Writes a file that only its owner can read, whole or not at all. @throws Error of the file system */
export function writePrivateFile(file: string, text: string): void {
  fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  const temporary = `${file}.${process.pid}`;
  fs.writeFileSync(temporary, text, { mode: 0o600 });
  fs.renameSync(temporary, file);
}
