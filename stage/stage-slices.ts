import type { Stage } from '../engine/engine.js';
import { rowsOfStep, type SegmentResult, type Step } from '../step/step.js';
import { isShort } from './overtaking.js';
import { SliceLength } from './slice-length.js';

/** Some of a step's layers, or all of them. @returns what the step gives, when all are computed */
export type Slice = () => Promise<readonly SegmentResult[] | undefined>;

/** In which slices a stage computes its steps. Stages of ONNX Runtime compute all steps at once. */
export class StageSlices {
  readonly #length = new SliceLength();

  constructor(private readonly stage: Stage) {}

  /** Whether short steps may be computed between the slices of a step. */
  areOf(step: Step): boolean {
    return this.stage.begin !== undefined && !isShort(step);
  }

  /**
   * @param hidden [rows, hiddenSize] f32 @param output as of `Stage.begin`
   * @returns what is called until it gives the step's results
   */
  begin(step: Step, hidden: Float32Array, output: Float32Array): Slice {
    const { stage } = this;
    const slices = this.areOf(step) ? stage.begin?.(step, hidden, output) : undefined;
    if (!slices) return () => stage.forward(step, hidden, output);
    const layers = this.#length.layers(rowsOfStep(step), this.#layers, performance.now());
    return () => slices.compute(layers);
  }

  /** @param ms that computing it took, all slices together */
  computed(step: Step, ms: number): void {
    if (isShort(step)) this.#length.addShort(ms, performance.now());
    else this.#length.addLong(rowsOfStep(step), this.#layers, ms);
  }

  get #layers(): number {
    const { firstLayer, endLayer } = this.stage.shard;
    return endLayer - firstLayer;
  }
}
