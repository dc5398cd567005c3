import { promisify } from 'node:util';
import koffi from 'koffi';
import { EngineError } from '../engine.js';
import type { Ggml, Pointer } from './bindings.js';
import type { GgmlDevice } from './devices.js';
import { AbortSwitch } from './abort-switch.js';
import { ThreadPool } from './thread-pool.js';

/** GGML_STATUS_ALLOC_FAILED and GGML_STATUS_ABORTED of enum ggml_status. */
const status = { outOfMemory: -2, givenUp: 1 } as const;

const setThreadsPrototype = koffi.proto('void (void* backend, int threads)');

/** A stream of computation on one device. */
export class Backend implements Disposable {
  readonly #pointer: Pointer;
  #pool: ThreadPool | undefined;
  #abort: AbortSwitch | undefined;
  readonly #computeAsync: (backend: Pointer, graph: Pointer) => Promise<number>;

  constructor(
    private readonly ggml: Ggml,
    readonly device: GgmlDevice,
    threads: number,
  ) {
    const pointer = ggml.newBackend(device.pointer, null);
    if (!pointer) throw new EngineError('device', `cannot use ${device.name}: its driver refused`);
    this.#pointer = pointer;
    this.#computeAsync = promisify(ggml.compute.async);
    try {
      const registry = ggml.deviceRegistry(device.pointer);
      const setThreads = ggml.procedure(registry, 'ggml_backend_set_n_threads');
      if (setThreads) koffi.call(setThreads, setThreadsPrototype, pointer, threads);
      if (device.kind === 'cpu' && threads > 1) {
        this.#pool = new ThreadPool(ggml, device, threads);
        this.#pool.attach(pointer);
      }
      this.#abort = AbortSwitch.attach(ggml, device, pointer);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Computes a graph off the event loop. @throws EngineError when the device fails, or `abort` was called meanwhile */
  async compute(graph: Pointer): Promise<void> {
    this.#abort?.set(false);
    this.#check(await this.#computeAsync(this.#pointer, graph));
  }

  /** Computes a graph at once; for graphs too small to be worth another thread. */
  computeNow(graph: Pointer): void {
    this.#abort?.set(false);
    this.#check(this.ggml.compute(this.#pointer, graph));
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

  #check(result: number): void {
    if (result === 0) return;
    const { name } = this.device;
    if (result === status.outOfMemory)
      throw new EngineError('memory', `${name} failed to compute a step: out of memory`);
    const cause = result === status.givenUp ? 'given up' : `status ${result}`;
    throw new EngineError('compute', `${name} failed to compute a step: ${cause}`);
  }
}
