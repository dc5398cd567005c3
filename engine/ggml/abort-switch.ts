import koffi from 'koffi';
import type { Ggml, Pointer } from './bindings.js';
import type { GgmlDevice } from './devices.js';

const setCallbackPrototype = koffi.proto('void (void* backend, void* callback, void* data)');

/** struct ggml_tensor has its dimensions, four int64, after its type and buffer. */
const dimensionsOffset = 16;

/**
 * Stops a computation that has become useless. ggml asks a callback before every op whether to give up, on a compute
 * thread where no JavaScript can run; ggml's own `ggml_is_empty` fits that prototype, so a tensor is the switch: it is
 * thrown by making the tensor empty.
 */
export class AbortSwitch implements Disposable {
  readonly #context: Pointer;
  readonly #switch: Pointer;

  private constructor(private readonly ggml: Ggml) {
    this.#context = ggml.newContext(ggml.tensorOverhead());
    this.#switch = ggml.newTensor1d(this.#context, 0, 1);
  }

  /** @returns undefined for a device that computes to the end whatever happens */
  static attach(ggml: Ggml, device: GgmlDevice, backend: Pointer): AbortSwitch | undefined {
    const registry = ggml.deviceRegistry(device.pointer);
    const setCallback = ggml.procedure(registry, 'ggml_backend_set_abort_callback');
    if (!setCallback) return undefined;
    if (!areDimensionsWhereExpected(ggml)) return undefined;
    const created = new AbortSwitch(ggml);
    koffi.call(setCallback, setCallbackPrototype, backend, ggml.isEmpty, created.#switch);
    return created;
  }

  set(isThrown: boolean): void {
    koffi.encode(this.#switch, dimensionsOffset, 'int64', isThrown ? 0 : 1);
  }

  [Symbol.dispose](): void {
    this.ggml.freeContext(this.#context);
  }
}

/** Whether the dimensions are where they were in the versions known. */
function areDimensionsWhereExpected(ggml: Ggml): boolean {
  const context = ggml.newContext(ggml.tensorOverhead());
  try {
    const tensor = ggml.newTensor2d(context, 0, 11, 13);
    const [first, second] = koffi.decode(tensor, dimensionsOffset, 'int64', 2) as bigint[];
    return Number(first) === 11 && Number(second) === 13;
  } finally {
    ggml.freeContext(context);
  }
}
