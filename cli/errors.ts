import type { Logger } from 'pino';

/** The command line or the config file is wrong. The message is one line; the process exits with code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Errors whose messages are meant for users, by name: they come from all folders. */
const expectedErrors: ReadonlySet<string> = new Set([
  'UsageError',
  'ModelError',
  'EngineError',
  'TransportError',
  'WorkerError',
  'SpawnError',
  'CoordinatorError',
]);

/** Whether the message says to a user what is wrong and what to do. */
export function isExpected(error: unknown): error is Error {
  return error instanceof Error && expectedErrors.has(error.name);
}

/** The one line that a user is told. */
export function describeFailure(error: unknown): string {
  const message = (error instanceof Error ? error.message : String(error)).replace(
    /\s*\n\s*/g,
    ' ',
  );
  if (isExpected(error)) return `daisychain: ${message}`;
  return `daisychain: unexpected error: ${message} (run with --log-level debug for details)`;
}

/** Prints a failure as one line on stderr, with its stack where logs show that much. @returns the exit code */
export function reportFailure(error: unknown, logger?: Logger): number {
  process.stderr.write(`${describeFailure(error)}\n`);
  if (error instanceof Error) logger?.debug(error.stack ?? error.message);
  return error instanceof UsageError ? 2 : 1;
}
