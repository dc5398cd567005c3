import type { Pointer } from './api.js';

/** An object of ONNX Runtime's, for an owner that will release it. */
export class Handle implements Disposable {
  constructor(
    readonly pointer: Pointer,
    private readonly release: (pointer: Pointer) => void,
  ) {}

  [Symbol.dispose](): void {
    this.release(this.pointer);
  }
}
