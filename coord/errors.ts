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
  /** A stage could not compute a step. */
  | 'step'
  /** The step was cancelled, or the coordinator closed. */
  | 'cancelled';

/** The message is one line that names the cause and the remedy. */
export class CoordinatorError extends Error {
  override readonly name = 'CoordinatorError';
  constructor(
    readonly code: CoordinatorErrorCode,
    message: string,
  ) {
    super(message);
  }
}
