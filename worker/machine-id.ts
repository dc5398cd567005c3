import { execFile } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import fs from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const commandMs = 2000;

/**
 * An id that all processes of this machine share, and keep over restarts. The system's own is meant to stay on the
 * machine, so it is only hashed into ours; where there is none, one is made up and kept in the cache.
 */
export async function machineId(cacheDirectory: string): Promise<string> {
  const id = (await systemId().catch(() => undefined)) ?? (await keptId(cacheDirectory));
  return createHash('sha256').update(`daisychain machine ${id}`).digest('hex').slice(0, 32);
}

async function systemId(): Promise<string | undefined> {
  switch (process.platform) {
    case 'darwin':
      return idIn(await outputOf('ioreg', ['-rd1', '-c', 'IOPlatformExpertDevice']));
    case 'win32':
      return idIn(
        await outputOf('reg', [
          'query',
          'HKLM\\SOFTWARE\\Microsoft\\Cryptography',
          '/v',
          'MachineGuid',
        ]),
      );
    default:
      return idIn(await firstOf(['/etc/machine-id', '/var/lib/dbus/machine-id']));
  }
}

/** The first UUID in a text, with its dashes or without. */
function idIn(text: string): string | undefined {
  return /[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}/i.exec(text)?.[0];
}

async function outputOf(command: string, args: readonly string[]): Promise<string> {
  return (await run(command, args, { timeout: commandMs })).stdout;
}

async function firstOf(files: readonly string[]): Promise<string> {
  const found = await Promise.all(files.map((file) => fs.readFile(file, 'utf8').catch(() => '')));
  return found.find((text) => text.trim() !== '') ?? '';
}

/** Without a cache that can be written to, the id lasts as long as this process. */
async function keptId(cacheDirectory: string): Promise<string> {
  const file = path.join(cacheDirectory, 'machine-id');
  const id = randomUUID();
  try {
    await fs.mkdir(cacheDirectory, { recursive: true });
    // Whoever comes first chooses for all.
    await fs.writeFile(file, id, { flag: 'wx' });
    return id;
  } catch {
    return fs.readFile(file, 'utf8').catch(() => id);
  }
}
