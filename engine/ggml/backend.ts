import { promisify } from 'node:util';
import koffi from 'koffi';
import { EngineError } from '../engine.js';
import type { Ggml, Pointer } from './bindings.js';
import type { GgmlDevice } from './devices.js';
import { AbortSwitch } from './abort-switch.js';
import { ThreadPool } from './thread-pool.js';

/** Values of enum ggml_status. */
const causes: Readonly<Record<number, string>> = { [-2]: 'out of memory', 1: 'given up' };

const setThreadsPrototype = koffi.proto('void (void* backend, int threads)');

/** A stream of computation on one device. */
export class Backend implements Disposable {
  readonly #pointer: Pointer;
  readonly #pool: ThreadPool | undefined;
  readonly #abort: AbortSwitch | undefined;
  readonly #computeAsync: (backend: Pointer, graph: Pointer) => Promise<number>;

  constructor(
    private readonly ggml: Ggml,
    readonly device: GgmlDevice,
    threads: number,
  ) {
    const pointer = ggml.newBackend(device.pointer, null);
    if (!pointer) throw new EngineError(`cannot use ${device.name}: its driver refused`);
    this.#pointer = pointer;
    this.#computeAsync = promisify(ggml.compute.async);
    const registry = ggml.deviceRegistry(device.pointer);
    const setThreads = ggml.procedure(registry, 'ggml_backend_set_n_threads');
    if (setThreads) koffi.call(setThreads, setThreadsPrototype, pointer, threads);
    if (device.kind === 'cpu' && threads > 1) {
      this.#pool = new ThreadPool(ggml, device, threads);
      this.#pool.attach(pointer);
    }
    this.#abort = AbortSwitch.attach(ggml, device, pointer);
  }

  /** Computes a graph off the event loop. @throws EngineError when the device fails, or `abort` was called. */
  async compute(graph: Pointer): Promise<void> {
    this.#abort?.set(false);
    const status = await this.#computeAsync(this.#pointer, graph);
    if (status !== 0) throw this.#failure(status);
  }

  /** Computes a graph at once; for graphs too small to be worth another thread. */
  computeNow(graph: Pointer): void {
    this.#abort?.set(false);
    const status = this.ggml.compute(this.#pointer, graph);
    if (status !== 0) throw this.#failure(status);
  }

  /** Gives up what is being computed, if the device can: `compute` then throws. */
  abort(): void {
    this.#abort?.set(true);
  }

  [Symbol.dispose](): void {
    this.ggml.freeBackend(this.#pointer);
    this.#pool?.[Symbol.dispose]();
    this.#abort?.[Symbol.dispose]();
  }

  #failure(status: number): EngineError {
    const cause = causes[status] ?? `status ${status}`;
    return new EngineError(`${this.device.name} failed to compute a step: ${cause}`);
  }
}
