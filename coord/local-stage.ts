import os from 'node:os';
import type { SegmentId } from '../stage/wanted-segments.js';
import type { Engine } from '../engine/engine.js';
import { readBandwidth } from '../stage/read-bandwidth.js';
import type { KeyedPage } from '../step/pages.js';
import { StageHost, type StageHostOptions } from '../stage/stage-host.js';
import type { NextStage } from '../stage/outgoing-link.js';
import { isEmpty } from '../step/shard.js';
import type { Step } from '../step/step.js';
import { CoordinatorError } from './errors.js';
import type { LoadedStage, LoadRequest, StagePort, StagePortEvents } from './stage-port.js';

/** The coordinator's own stage, always the first; without layers it passes steps on. */
export class LocalStage implements StagePort {
  readonly name = 'coordinator';
  readonly address = undefined;
  /** This process does not outlive itself. */
  readonly lost = new Promise<CoordinatorError>(() => undefined);
  readonly computer: string;
  readonly arithmetic: string;
  readonly #host: StageHost;
  #hasLayers = false;

  constructor(
    private readonly engine: Engine,
    options: StageHostOptions,
    events: StagePortEvents,
  ) {
    const { name, versions, device, threads } = engine;
    this.computer = JSON.stringify([os.hostname(), name, versions, device.description, threads]);
    this.arithmetic = JSON.stringify([name, versions, device.description]);
    this.#host = new StageHost(options, {
      onResult: (step, results) => events.onResult(step, results),
      onStepFailed: (step, error) =>
        events.onStepFailed(step, new CoordinatorError('step', error.message, { cause: error })),
      onLinkLost: ({ message }) => events.onLinkLost(this, message),
    });
  }

  async load(request: LoadRequest): Promise<LoadedStage> {
    if (isEmpty(request.shard))
      return { memory: { weights: 0, kv: 0, compute: 0 }, kvType: undefined, movesPages: true };
    this.#hasLayers = true;
    const { memory, kvType, pages } = await this.#host.load(this.engine, request);
    return { memory, kvType, movesPages: pages !== undefined };
  }

  link(epoch: number, next?: NextStage) {
    return this.#host.link(epoch, next);
  }

  submit(step: Step): Promise<void> | void {
    return this.#host.submit(step);
  }

  cancel(segments: readonly SegmentId[]): void {
    this.#host.cancel(segments);
  }

  async knownPages(keys: readonly string[]): Promise<number> {
    if (!this.#hasLayers) return keys.length;
    return (await this.#host.pageFiles?.known(keys)) ?? 0;
  }

  async restorePages(epoch: number, pages: readonly KeyedPage[]): Promise<number> {
    if (!this.#hasLayers) return pages.length;
    return (await this.#host.pageFiles?.restore(epoch, pages)) ?? 0;
  }

  report(reset: boolean) {
    const { report } = this.#host;
    if (reset) this.#host.resetReport();
    return Promise.resolve(report);
  }

  bandwidth(): Promise<number> {
    return readBandwidth(this.engine);
  }

  startTrace(): void {
    this.#host.tracer.start();
  }

  stopTrace() {
    return Promise.resolve(this.#host.tracer.stop());
  }

  close(reason: string): Promise<void> {
    return this.#host.close(reason);
  }
}
