import koffi from 'koffi';
import { EventLoopShare } from '../../event-loop-share.js';
import type { Pointer } from './api.js';
import { elementTypeOf, type TensorData } from './fixed-arrays.js';
import type { Session } from './session.js';

/** A session's inputs and outputs, bound to memory. It keeps that memory from being collected. */
export class IoBinding implements Disposable {
  readonly #pointer: Pointer;
  readonly #memory = new Set<TensorData>();
  /** Inputs that a provider with memory of its own copies when they are bound, so before every run. */
  readonly #copied: (() => void)[] = [];
  /** Milliseconds that the last run took. */
  #computeMs = Infinity;

  constructor(readonly session: Session) {
    this.#pointer = session.runtime.newBinding(session.pointer);
  }

  /** Binds an input to memory, whose content may change from run to run. */
  input(name: string, data: TensorData, shape: readonly number[]): void {
    const bind = () =>
      this.#withValue(data, 0, shape, (value) =>
        this.session.runtime.bindInput(this.#pointer, name, value),
      );
    bind();
    if (this.session.provider.memoryName !== undefined) this.#copied.push(bind);
  }

  output(name: string, data: TensorData, shape: readonly number[]): void {
    this.#withValue(data, 0, shape, (value) =>
      this.session.runtime.bindOutput(this.#pointer, name, value),
    );
  }

  /** Binds an input and an output to the same memory. @param offset bytes from its beginning */
  shared(
    input: string,
    output: string,
    data: TensorData,
    offset: number,
    shape: readonly number[],
  ): void {
    this.#withValue(data, offset, shape, (value) => this.sharedValue(input, output, value));
  }

  /** Binds an input and an output to the same tensor. */
  sharedValue(input: string, output: string, value: Pointer): void {
    const { runtime } = this.session;
    runtime.bindInput(this.#pointer, input, value);
    runtime.bindOutput(this.#pointer, output, value);
  }

  /** @throws EngineError 'compute' when computing fails */
  async run(): Promise<void> {
    for (const copy of this.#copied) copy();
    this.#computeMs = await EventLoopShare.running.run(this.#computeMs, (isInstant) =>
      isInstant ? this.session.runNow(this.#pointer) : this.session.run(this.#pointer),
    );
  }

  [Symbol.dispose](): void {
    this.session.runtime.releaseBinding(this.#pointer);
    this.#memory.clear();
  }

  /** A binding shares ownership of its values, so they are let go of at once. */
  #withValue(
    data: TensorData,
    offset: number,
    shape: readonly number[],
    use: (value: Pointer) => void,
  ): void {
    const { runtime } = this.session;
    const address = koffi.address(data) + BigInt(offset);
    const value = runtime.newValue(address, data.byteLength - offset, shape, elementTypeOf(data));
    this.#memory.add(data);
    try {
      use(value);
    } finally {
      runtime.releaseValue(value);
    }
  }
}
