/** A model file or its contents cannot be used. The message is one line that names the cause and the remedy. */
export class ModelError extends Error {
  override readonly name = 'ModelError';
}
