import type { SegmentId } from '../stage/wanted-segments.js';
import type { NextStage } from '../stage/outgoing-link.js';
import type { Step } from '../step/step.js';
import type { PipelineRoute } from './pipeline.js';
import type { StagePort } from './stage-port.js';

/** How a link is made. @param link counted from the first stage's own */
export type LinkChoices = (link: number) => Pick<NextStage, 'codec' | 'transport' | 'rdmaQueue'>;

/** The chain of stages in use. What comes of another epoch than its own is out of date. */
export class Route implements PipelineRoute {
  private constructor(
    readonly epoch: number,
    private readonly stages: readonly StagePort[],
  ) {}

  /**
   * Links stages to a chain, from the last to the first: each finds the next one ready.
   * @param stages the first is the coordinator's
   * @throws TransportError, CoordinatorError 'worker-refused', 'worker-lost'
   */
  static async link(
    epoch: number,
    stages: readonly StagePort[],
    choices: LinkChoices,
  ): Promise<Route> {
    for (const [i, stage] of [...stages.entries()].reverse()) {
      const next = stages[i + 1]?.address;
      await stage.link(epoch, next && { ...next, ...choices(i) });
    }
    return new Route(epoch, stages);
  }

  submit(step: Step): Promise<void> | void {
    return this.stages[0]?.submit(step);
  }

  cancel(segments: readonly SegmentId[]): void {
    for (const stage of this.stages) stage.cancel(segments);
  }
}
