import fs from 'node:fs';
import path from 'node:path';
import type { Logger } from 'pino';
import { newSecretText, secretFromText, type ClusterSecret } from '../transport/wire/security.js';
import { stateDirectory } from './directories.js';
import { UsageError } from './errors.js';
import type { Settings } from './settings/settings.js';

/** Environment variable that holds the secret itself. */
export const secretVariable = 'DAISYCHAIN_SECRET';

/** Where `daisychain secret new` writes it, and where it is looked for. */
export function secretFile(): string {
  return path.join(stateDirectory(), 'secret');
}

/** The secret's text, and what it is needed for. */
export interface SharedSecret {
  readonly text: string;
  readonly secret: ClusterSecret;
}

/**
 * The cluster secret: from `--secret-file`, the environment or its usual place, in this order.
 * @returns undefined when the user chose to do without (`--insecure`)
 * @throws UsageError when there is none, TransportError when it is too short
 */
export function clusterSecret(settings: Settings, logger: Logger): SharedSecret | undefined {
  if (settings.insecure) {
    logger.warn('--insecure: links are not encrypted, and whoever reaches a worker can use it');
    return undefined;
  }
  const text = findText(settings, logger);
  if (text === undefined)
    throw new UsageError(
      'secret',
      `no cluster secret: make one with "daisychain secret new" and give every machine the same (${secretVariable} or --secret-file), or use --insecure in a network that is yours alone`,
    );
  return { text, secret: secretFromText(text) };
}

/** A secret for workers that live and die with this process. */
export function passingSecret(): SharedSecret {
  const text = newSecretText();
  return { text, secret: secretFromText(text) };
}

function findText({ secretFile: named }: Settings, logger: Logger): string | undefined {
  if (named !== undefined) return readSecret(named, logger);
  const given = process.env[secretVariable];
  if (given) return given;
  return fs.existsSync(secretFile()) ? readSecret(secretFile(), logger) : undefined;
}

function readSecret(file: string, logger: Logger): string {
  try {
    const { mode } = fs.statSync(file);
    if (process.platform !== 'win32' && (mode & 0o077) !== 0)
      logger.warn(`others on this machine can read ${file}: chmod 600 it`);
    return fs.readFileSync(file, 'utf8');
  } catch (error) {
    throw new UsageError(
      'file',
      `cannot read the secret in ${file}: ${(error as NodeJS.ErrnoException).code}`,
      { cause: error },
    );
  }
}
