import type { UniformSizes } from '../uniform-sizes.js';
import type { HeadDemand } from '../../sampling/step-results.js';
import type { AttentionForm } from '../graph/attention-form.js';
import type { KvMemory } from '../kv/kv-memory.js';
import type { Session } from '../runtime/session.js';
import type { AbortableRuns } from './abortable-runs.js';
import { BindingCache } from './binding-cache.js';
import { PlaceInputs, type PlacedSegment } from './place-inputs.js';
import type { Run } from './runs.js';
import type { StepBuffers } from './step-buffers.js';

/** A graph for plain text: attention reads and writes the cells where they are. */
export class CausalGraph implements Disposable {
  readonly #bindings: BindingCache;
  readonly #places: PlaceInputs;

  /** @param session of a graph of this form */
  constructor(
    session: Session,
    private readonly form: AttentionForm,
    sizes: UniformSizes,
    private readonly buffers: StepBuffers,
    private readonly kv: KvMemory,
  ) {
    this.#bindings = new BindingCache(session);
    this.#places = new PlaceInputs(form, sizes);
  }

  /**
   * Computes a run whose hidden states are in the buffers.
   * @throws EngineError 'compute' when it fails or is given up
   */
  async compute(run: Run, demand: HeadDemand, runs: AbortableRuns): Promise<void> {
    const { places, isInParts } = this.form;
    const placed = placedSegments(run);
    this.buffers.set(run.segments, demand);
    this.#places.set(placed, run.calibratesKv);
    const starts = run.starts ?? [];
    const rows = run.endRow - run.firstRow;
    const key = `${starts.join()} ${this.buffers.bindingKey(rows, demand)}`;
    const binding = this.#bindings.get(key, (created) => {
      this.kv.bind(
        created,
        Array.from({ length: places }, (_, place) => starts[isInParts ? 0 : place]),
      );
      this.#places.bind(created);
      this.buffers.bind(created, rows, demand);
    });
    await runs.run(binding);
  }

  [Symbol.dispose](): void {
    this.#bindings[Symbol.dispose]();
  }
}

/** The segments of a run; where there is one in parts, each as if it were a segment. */
function placedSegments({ segments, starts = [], parts }: Run): PlacedSegment[] {
  return segments.flatMap(({ cells }, i) => {
    let seen = (cells[0] as number) - (starts[i] as number);
    return (parts ?? [cells.length]).map((rows) => ({ rows, seen: (seen += rows) }));
  });
}
