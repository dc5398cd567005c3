import type { SegmentId } from '../stage/wanted-segments.js';
import type { KeyedPage } from '../step/pages.js';
import type { NextStage } from '../stage/outgoing-link.js';
import type { Step } from '../step/step.js';
import type { PipelineRoute } from './pipeline.js';
import type { AgreedCodec } from '../transport/protocol/agree-on-codec.js';
import type { StageAddress, StagePort } from './stage-port.js';

/** How a link is made. @param link counted from the first stage's own */
export type LinkChoices = (link: number) => Omit<NextStage, keyof StageAddress>;

/** The chain of stages in use. What comes of another epoch than its own is out of date. */
export class Route implements PipelineRoute {
  private constructor(
    readonly epoch: number,
    private readonly stages: readonly StagePort[],
    /** In pipeline order, one less than there are stages. */
    readonly links: readonly AgreedCodec[],
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
    const links: AgreedCodec[] = [];
    for (const [i, stage] of [...stages.entries()].reverse()) {
      const next = stages[i + 1]?.address;
      const link = await stage.link(epoch, next && { ...next, ...choices(i) });
      if (link) links.unshift(link);
    }
    return new Route(epoch, stages, links);
  }

  submit(step: Step): Promise<void> | void {
    return this.stages[0]?.submit(step);
  }

  cancel(segments: readonly SegmentId[]): void {
    for (const stage of this.stages) stage.cancel(segments);
  }

  /** How many leading ones of some pages all stages have kept, to all appearances. @throws CoordinatorError 'worker-lost' */
  async knownPages(keys: readonly string[]): Promise<number> {
    return Math.min(...(await Promise.all(this.stages.map((stage) => stage.knownPages(keys)))));
  }

  /**
   * Has pages that were kept put into cells that nobody uses.
   * @returns how many leading ones are there on all stages; the others have to be computed
   * @throws CoordinatorError 'worker-lost'
   */
  async restorePages(pages: readonly KeyedPage[]): Promise<number> {
    const restored = this.stages.map((stage) => stage.restorePages(this.epoch, pages));
    return Math.min(...(await Promise.all(restored)));
  }
}
