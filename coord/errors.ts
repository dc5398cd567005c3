import { DaisychainError } from '../step/errors.js';

/** Why the coordinator cannot go on. */
export type CoordinatorErrorCode =
  /** The text does not fit the context. */
  | 'context'
  /** The split does not fit the model or the number of workers. */
  | 'plan'
  /** A stage does not fit its machine. */
  | 'memory'
  /** A worker cannot take part: another model, another version, a failed load. */
  | 'worker-refused'
  /** A worker that took part is gone. */
  | 'worker-lost'
  /** A step belongs to a route that is no more: compute it again on the new one. */
  | 'route'
  /** A stage could not compute a step. */
  | 'step'
  /** A conversation that is closed, or answers already, was asked for an answer. */
  | 'conversation'
  /** The step was cancelled, or the coordinator closed. */
  | 'cancelled';

/** The message is one line that names the cause and the remedy. */
export class CoordinatorError extends DaisychainError<CoordinatorErrorCode> {
  override readonly name = 'CoordinatorError';
}
