import { stateElements, type Layer } from '../../../model/architectures/layer.js';
import { EngineError } from '../../engine.js';
import { tensorType, type Ggml, type Pointer } from '../bindings.js';
import { TensorArena } from '../tensor-arena.js';

/** The states of one layer, a row for every slot. */
export interface LayerStates {
  /** f32 [heads · size², slots]: the heads' matrices. */
  readonly matrices: Pointer;
  /** f32 [features · (width - 1), slots]: what the convolution looks back at, feature by feature. */
  readonly rows: Pointer;
}

/** The states that a stage's layers keep instead of cells. A slot has the same index on every stage. */
export class StateMemory implements Disposable {
  readonly #arena: TensorArena;
  /** Undefined where a layer keeps no state. */
  readonly #layers: readonly (LayerStates | undefined)[];

  private constructor(
    ggml: Ggml,
    bufferType: Pointer,
    layers: readonly Layer[],
    private readonly firstLayer: number,
    slots: number,
  ) {
    this.#arena = new TensorArena(ggml, bufferType, layers.length * 2);
    const kept = (elements: number) =>
      ggml.newTensor2d(this.#arena.context, tensorType.f32, elements, slots);
    this.#layers = layers.map(({ attention }) => {
      if (attention.kind !== 'linear') return undefined;
      const { matrices, rows } = stateElements(attention);
      return { matrices: kept(matrices), rows: kept(rows) };
    });
  }

  /** @param layers of the stage @throws EngineError 'memory' */
  static allocate(
    ggml: Ggml,
    bufferType: Pointer,
    layers: readonly Layer[],
    firstLayer: number,
    slots: number,
  ): StateMemory {
    const memory = new StateMemory(ggml, bufferType, layers, firstLayer, slots);
    if (!memory.isUsed) return memory;
    try {
      memory.#arena.allocate('states');
      for (const layer of memory.#layers)
        for (const tensor of layer ? [layer.matrices, layer.rows] : [])
          ggml.tensorFill(tensor, 0, 0, ggml.tensorBytes(tensor));
      return memory;
    } catch (error) {
      memory[Symbol.dispose]();
      throw error;
    }
  }

  /** Whether any layer keeps a state. */
  get isUsed(): boolean {
    return this.#layers.some((layer) => layer !== undefined);
  }

  get bytes(): number {
    return this.#arena.bytes;
  }

  layer(index: number): LayerStates {
    const layer = this.#layers[index - this.firstLayer];
    if (!layer) throw new EngineError('internal', `layer ${index} keeps no state here`);
    return layer;
  }

  [Symbol.dispose](): void {
    this.#arena[Symbol.dispose]();
  }
}
