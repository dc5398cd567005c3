import type { Batch } from '../engine.js';
import { Binding } from './binding.js';
import type { KvMemory } from './kv-memory.js';
import type { LoneToken } from './lone-token.js';
import type { Session } from './session.js';
import type { StepMemory, Wanted } from './step-memory.js';

/** Bindings to keep: decoding uses one per conversation, verification and prefill a few. */
const capacity = 32;

/** Steps of equal shape share a binding. */
interface StepShape {
  readonly start: number;
  readonly tokens: number;
  readonly outputs: number;
  readonly wanted: Wanted;
}

/** Computes plain text: attention reads and writes the cells where they are. */
export class CausalSteps implements Disposable {
  readonly #bindings = new Map<string, { readonly binding: Binding; readonly memory: unknown }>();

  constructor(
    readonly session: Session,
    private readonly memory: StepMemory,
    private readonly kv: KvMemory,
    private readonly lone: LoneToken | undefined,
  ) {}

  /**
   * @param start the first cell that the tokens see
   * @throws EngineError when computing fails
   */
  async compute(batch: Batch, start: number, wanted: Wanted): Promise<void> {
    const { tokens, cells, outputs } = batch;
    const seen = (cells.at(-1) as number) + 1 - start;
    this.memory.set(batch, this.lone?.set(tokens.length, seen) ?? seen);
    const shape = { start, tokens: tokens.length, outputs: outputs.length, wanted };
    await this.#binding(shape).run();
  }

  [Symbol.dispose](): void {
    for (const { binding } of this.#bindings.values()) binding[Symbol.dispose]();
    this.#bindings.clear();
  }

  /** The binding of a shape; those that were not used for long give way. */
  #binding(shape: StepShape): Binding {
    const key = Object.values(shape).join(' ');
    // Logits move to other memory when there are more of them.
    const memory = shape.wanted === 'logits' ? this.memory.logits(shape.outputs).buffer : undefined;
    const found = this.#bindings.get(key);
    // Whatever is used last is the youngest.
    this.#bindings.delete(key);
    if (found && found.memory === memory) {
      this.#bindings.set(key, found);
      return found.binding;
    }
    found?.binding[Symbol.dispose]();
    const binding = this.#bind(shape);
    this.#bindings.set(key, { binding, memory });
    const oldest = this.#bindings.entries().next().value;
    if (oldest && this.#bindings.size > capacity) {
      this.#bindings.delete(oldest[0]);
      oldest[1].binding[Symbol.dispose]();
    }
    return binding;
  }

  #bind({ start, tokens, outputs, wanted }: StepShape): Binding {
    const binding = new Binding(this.session);
    try {
      this.kv.bind(binding, start);
      this.memory.bind(binding, tokens, outputs, wanted);
      this.lone?.bind(binding);
      return binding;
    } catch (error) {
      binding[Symbol.dispose]();
      throw error;
    }
  }
}
