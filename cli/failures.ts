import { inspect } from 'node:util';
import type { Logger } from 'pino';
import { UsageError } from '../app/errors.js';
import { DaisychainError } from '../step/errors.js';

/** The one line that a user is told. */
export function describeFailure(error: unknown): string {
  const message = (error instanceof Error ? error.message : String(error)).replace(
    /\s*\n\s*/g,
    ' ',
  );
  if (error instanceof DaisychainError) return `daisychain: ${message}`;
  return `daisychain: unexpected error: ${message} (run with --log-level debug for details)`;
}

/** Prints a failure as one line on stderr, with stack and causes where logs show that much. @returns the exit code */
export function reportFailure(error: unknown, logger?: Pick<Logger, 'debug'>): number {
  process.stderr.write(`${describeFailure(error)}\n`);
  logger?.debug(inspect(error));
  return error instanceof UsageError ? 2 : 1;
}
