import type { Segment, SegmentResult, Step } from '../step/step.js';
import { keepSegments } from './keep-segments.js';
import { Refutations } from './refutations.js';
import { SegmentMemory } from './segment-memory.js';

/** A segment of a step, by their ids. */
export interface SegmentId {
  readonly step: number;
  readonly sequence: number;
}

/**
 * What a stage knows of who wants what: not segments that were cancelled, nor those that its own choices have shown to
 * be for nothing, nor steps of routes that are no more.
 */
export class WantedSegments {
  readonly #cancelled = new SegmentMemory<true>();
  readonly #refutations = new Refutations();
  #epoch = 0;

  /** Segments may be cancelled before they arrive. */
  cancel(segments: Iterable<SegmentId>): void {
    for (const { step, sequence } of segments) this.#cancelled.set(step, sequence, true);
  }

  /** From now on steps of older epochs are not wanted. */
  beginEpoch(epoch: number): void {
    this.#epoch = epoch;
  }

  /** Whether a step has a segment that nobody has cancelled, or something else to do, which is always wanted. */
  hasAny({ id, epoch, segments }: Step): boolean {
    const isWanted = ({ sequence }: Segment) => !this.#cancelled.get(id, sequence);
    return epoch >= this.#epoch && (segments.length === 0 || segments.some(isWanted));
  }

  /**
   * The step with what is wanted of it. What follows the segments that are left out is not wanted either.
   * @param rows [rows, rowSize] f32 of the step, whose kept rows move up in place; or empty
   * @returns undefined when nothing is
   */
  of(step: Step, rows: Float32Array, rowSize: number): Step | undefined {
    if (step.epoch < this.#epoch) return undefined;
    return keepSegments(step, (segment) => !this.#drops(step.id, segment), rows, rowSize);
  }

  /** The last stage has chosen. @param results one per segment, in their order */
  chosen({ id, segments }: Step, results: readonly SegmentResult[]): void {
    for (const [i, segment] of segments.entries())
      this.#refutations.computed(id, segment, results[i]?.choices ?? noChoices);
  }

  #drops(step: number, segment: Segment): boolean {
    const { sequence } = segment;
    const dropped = this.#cancelled.delete(step, sequence) || this.#refutations.refutes(segment);
    if (dropped) this.#refutations.dropped(step, sequence);
    return dropped;
  }
}

const noChoices = new Int32Array(0);
