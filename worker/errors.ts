import { DaisychainError } from '../step/errors.js';

/** Why a worker cannot hold what it was asked to. */
export type WorkerErrorCode =
  /** The coordinator asked for what makes no sense. */
  | 'message'
  /** It holds another model file than the coordinator. */
  | 'model'
  /** There is not enough memory. */
  | 'memory'
  /** The disk is full, or cannot be written to. */
  | 'disk'
  /** A tensor was damaged on its way. */
  | 'damaged'
  /** The coordinator, or the stage's turn, was over before it was done. */
  | 'ended';

/** The message is one line that names the cause and the remedy. */
export class WorkerError extends DaisychainError<WorkerErrorCode> {
  override readonly name = 'WorkerError';
}
