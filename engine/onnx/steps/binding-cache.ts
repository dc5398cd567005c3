import { IoBinding } from '../runtime/io-binding.js';
import type { Session } from '../runtime/session.js';

/** Bindings to keep: decoding uses one per conversation, verification and prefill a few. */
const capacity = 32;

/** Bindings of a session by what they are for; those that were not used for long give way. */
export class BindingCache implements Disposable {
  readonly #bindings = new Map<string, IoBinding>();

  constructor(private readonly session: Session) {}

  /** @param bind binds everything, where there is no binding for this key */
  get(key: string, bind: (binding: IoBinding) => void): IoBinding {
    const binding = this.#bindings.get(key) ?? this.#make(bind);
    // Whatever is used last is the youngest.
    this.#bindings.delete(key);
    this.#bindings.set(key, binding);
    if (this.#bindings.size > capacity) this.#dropOldest();
    return binding;
  }

  [Symbol.dispose](): void {
    for (const binding of this.#bindings.values()) binding[Symbol.dispose]();
    this.#bindings.clear();
  }

  #make(bind: (binding: IoBinding) => void): IoBinding {
    const binding = new IoBinding(this.session);
    try {
      bind(binding);
      return binding;
    } catch (error) {
      binding[Symbol.dispose]();
      throw error;
    }
  }

  #dropOldest(): void {
    for (const [key, binding] of this.#bindings) {
      this.#bindings.delete(key);
      binding[Symbol.dispose]();
      return;
    }
  }
}
