import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/** A disk of its own, in memory. */
export class SmallDisk implements Disposable {
  readonly path = fs.mkdtempSync(path.join(os.tmpdir(), 'daisychain-disk-'));

  constructor(bytes: number) {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', this.path]);
  }

  makeReadOnly(): void {
    execFileSync('mount', ['-o', 'remount,ro', this.path]);
  }

  [Symbol.dispose](): void {
    execFileSync('umount', [this.path]);
    fs.rmdirSync(this.path);
  }
}

function makes(): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false;
  try {
    using disk = new SmallDisk(1 << 20);
    return fs.existsSync(disk.path);
  } catch {
    return false;
  }
}

/** Whether disks can be made here: by root, on Linux. */
export const canMakeDisks = makes();
