/** A worker cannot hold what it was asked to. The message is one line that names the cause and the remedy. */
export class WorkerError extends Error {
  override readonly name = 'WorkerError';
}
