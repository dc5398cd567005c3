import path from 'node:path';
import { Resources } from '../../resources.js';
import type { FilePart } from '../graph/model-proto.js';
import type { OnnxRuntime, Pointer } from './api.js';
import { Handle } from './handle.js';
import { MappedFile } from './mapped-file.js';

/** A constant of models whose data is a part of a file. */
export interface SharedConstant {
  readonly name: string;
  readonly type: number;
  readonly shape: readonly number[];
  readonly data: FilePart;
}

/**
 * Constants that several sessions multiply with. ONNX Runtime rearranges them for its kernels when a session is opened;
 * these it does once and keeps for all, so that a second graph over the same weights takes little memory.
 */
export class SharedWeights implements AsyncDisposable {
  readonly #resources = new Resources();
  readonly #files: readonly MappedFile[];
  readonly #values: readonly { readonly name: string; readonly value: Pointer }[];
  /** What ONNX Runtime keeps the rearranged constants in. */
  readonly packed: Pointer;

  /** @param folder of the files @throws EngineError when a file cannot be mapped */
  constructor(
    private readonly runtime: OnnxRuntime,
    folder: string,
    constants: readonly SharedConstant[],
  ) {
    try {
      const files = new Map<string, MappedFile>();
      this.#values = constants.map(({ name, type, shape, data }) => {
        const file =
          files.get(data.file) ??
          this.#resources.take(new MappedFile(path.join(folder, data.file)));
        files.set(data.file, file);
        const address = file.address + BigInt(data.offset);
        const value = runtime.newValue(address, data.bytes, shape, type);
        return { name, value: this.#take(value, runtime.releaseValue) };
      });
      this.#files = [...files.values()];
      this.packed = runtime.newPackedWeights();
    } catch (error) {
      this.#resources[Symbol.dispose]();
      throw error;
    }
  }

  /** Has sessions with these options share what is in the model that they are opened with. */
  addTo(sessionOptions: Pointer): void {
    for (const { name, value } of this.#values)
      this.runtime.addInitializer(sessionOptions, name, value);
  }

  /** Gives back memory of the files, which a session needs while it is opened. */
  async forget(): Promise<void> {
    for (const file of this.#files) await file.forget();
  }

  /** Gives back memory off the event loop: there may be much of it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.runtime.releasePackedWeights(this.packed);
    this.#resources[Symbol.dispose]();
  }

  #take(pointer: Pointer, release: (pointer: Pointer) => void): Pointer {
    return this.#resources.take(new Handle(pointer, release)).pointer;
  }
}
