import koffi, { type TypeObject } from 'koffi';
import { EngineError } from '../engine.js';
import type { Ggml, Pointer } from './bindings.js';
import type { GgmlDevice } from './devices.js';

const prototypes = {
  create: koffi.proto('void* (void* parameters)'),
  attach: koffi.proto('void (void* backend, void* pool)'),
  free: koffi.proto('void (void* pool)'),
};

/** More than struct ggml_threadpool_params has in any version. */
const parameterBytes = 4096;

/**
 * Compute threads that live as long as their owner. Without a pool of its own a CPU backend starts and ends threads
 * for every step, which costs more than a decode step of a small model.
 */
export class ThreadPool implements Disposable {
  readonly #pool: Pointer;

  /** @throws EngineError 'device' when the threads cannot be started */
  constructor(
    private readonly ggml: Ggml,
    private readonly cpu: GgmlDevice,
    threads: number,
  ) {
    const parameters = Buffer.alloc(parameterBytes);
    ggml.threadPoolDefaults(parameters, threads);
    const pool = this.#call('ggml_threadpool_new', prototypes.create, parameters);
    if (!pool)
      throw new EngineError(
        'device',
        `cannot start ${threads} compute threads: use fewer --threads`,
      );
    this.#pool = pool;
  }

  /** Makes a CPU backend compute on this pool. */
  attach(backend: Pointer): void {
    this.#call('ggml_backend_cpu_set_threadpool', prototypes.attach, backend, this.#pool);
  }

  [Symbol.dispose](): void {
    this.#call('ggml_threadpool_free', prototypes.free, this.#pool);
  }

  #call(name: string, prototype: TypeObject, ...values: unknown[]): Pointer | null {
    const procedure = this.ggml.procedure(this.ggml.deviceRegistry(this.cpu.pointer), name);
    if (!procedure)
      throw new EngineError('internal', `this build of ggml lacks ${name}: run npm install again`);
    return koffi.call(procedure, prototype, ...values) as Pointer | null;
  }
}
