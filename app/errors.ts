import { DaisychainError } from '../step/errors.js';

/** What is wrong with what the user gave. */
export type UsageErrorCode =
  /** A flag, or a line of the config file, is not what it may be. */
  | 'setting'
  /** Settings contradict each other, or one needs another. */
  | 'combination'
  /** A file that the user named cannot be read or written, or is not what it should be. */
  | 'file'
  /** There is no cluster secret. */
  | 'secret';

/** The command line or the config file is wrong. The message is one line; the process exits with code 2. */
export class UsageError extends DaisychainError<UsageErrorCode> {
  override readonly name = 'UsageError';
}
