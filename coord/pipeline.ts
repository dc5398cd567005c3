import type { KeyedPage, PageCopy } from '../step/pages.js';
import type { Segment, SegmentResult, Step } from '../step/step.js';
import type { SegmentId } from '../stage/wanted-segments.js';
import { CoordinatorError } from './errors.js';

/** What steps go through: takes them at its first stage, and tells all stages which segments to drop. */
export interface PipelineRoute {
  readonly epoch: number;
  /** Resolves when the first stage can take another step. */
  submit(step: Step): Promise<void> | void;
  cancel(segments: readonly SegmentId[]): void;
}

/** A step on its way. */
export interface SubmittedStep {
  readonly id: number;
  /**
   * For each segment, in their order, what it wanted. They reject with CoordinatorError 'step', 'cancelled', 'worker-lost',
   * or 'route' when the route was changed.
   */
  readonly results: readonly Promise<SegmentResult>[];
}

/** Whose a step without segments is. */
const nobody = 0;
const noChoices = new Int32Array(0);

interface Waiting {
  resolve(result: SegmentResult): void;
  reject(error: Error): void;
}

/** Steps on their way through the stages. Results come back in any order and are matched by step and sequence. */
export class Pipeline {
  /** By step id, then by sequence. */
  readonly #inFlight = new Map<number, Map<number, Waiting>>();
  #lastId = 0;
  #route: PipelineRoute | undefined;
  #isReady = false;
  #broken: Error | undefined;
  readonly #waitForRoute: { resolve(epoch: number): void; reject(error: Error): void }[] = [];

  /** Steps go through this route from now on; those on their way through another one fail with 'route'. */
  use(route: PipelineRoute): void {
    this.suspend();
    this.#route = route;
  }

  /** The route is prepared: whoever waits for it may begin. */
  resume(): void {
    this.#isReady = true;
    for (const waiting of this.#waitForRoute.splice(0)) waiting.resolve(this.#route?.epoch ?? 0);
  }

  /** There is no route for now: steps fail with 'route', and `ready` waits until there is one again. */
  suspend(): void {
    this.#isReady = false;
    this.#route = undefined;
    this.#failAll(routeChanged());
  }

  /**
   * The epoch of the route, as soon as there is one.
   * @throws CoordinatorError 'cancelled' when the signal says so; why there will be none
   */
  async ready(signal?: AbortSignal): Promise<number> {
    if (this.#broken) throw this.#broken;
    if (this.#isReady && this.#route) return this.#route.epoch;
    return new Promise((resolve, reject) => {
      this.#waitForRoute.push({ resolve, reject });
      signal?.addEventListener('abort', () => reject(cancelled()), { once: true });
    });
  }

  /**
   * Sends one step through all stages.
   * @param segments one or more, each of another sequence
   * @param epoch of the route that they were made for; default: the one in use
   */
  submit(
    segments: readonly Segment[],
    options: Partial<Pick<Step, 'epoch' | 'calibratesKv' | 'inOrder'>> = {},
  ): SubmittedStep {
    const waiting = new Map<number, Waiting>();
    const results = segments.map(
      ({ sequence }) =>
        new Promise<SegmentResult>((resolve, reject) => waiting.set(sequence, { resolve, reject })),
    );
    // Whoever is not interested any more need not look.
    for (const result of results) result.catch(() => undefined);
    return { id: this.#submit({ segments, ...options }, waiting), results };
  }

  /**
   * Has all stages copy pages, one after the other, behind all steps that were sent before.
   * @returns resolves when the last stage has done so
   * @throws CoordinatorError as results do
   */
  move(copies: readonly PageCopy[]): Promise<void> {
    return this.#do({ copies });
  }

  /**
   * Has all stages keep pages in files, as they are behind all steps that were sent before.
   * @param epoch of the route that computed them
   * @returns resolves when the last stage has read them
   * @throws CoordinatorError as results do
   */
  keep(keeps: readonly KeyedPage[], epoch: number): Promise<void> {
    return this.#do({ keeps, epoch });
  }

  /** Of the route in use; undefined while there is none. */
  get epoch(): number | undefined {
    return this.#route?.epoch;
  }

  /** Steps on their way. */
  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** Drops segments everywhere; their promises reject with CoordinatorError 'cancelled'. */
  cancel(segments: readonly SegmentId[]): void {
    const known = segments.filter(({ step, sequence }) => this.#inFlight.get(step)?.has(sequence));
    if (known.length === 0) return;
    this.#route?.cancel(known);
    for (const segment of known) this.#take(segment)?.reject(cancelled());
  }

  /** The last stage has finished a step. What was cancelled, or comes from another route, is ignored. */
  finished({ id, epoch }: Pick<Step, 'id' | 'epoch'>, results: readonly SegmentResult[]): void {
    if (epoch !== this.#route?.epoch) return;
    for (const result of results)
      this.#take({ step: id, sequence: result.sequence })?.resolve(result);
    this.#take({ step: id, sequence: nobody })?.resolve({ sequence: nobody, choices: noChoices });
  }

  /** A stage could not compute a step. */
  failed({ id, epoch }: Pick<Step, 'id' | 'epoch'>, error: Error): void {
    if (epoch === this.#route?.epoch) this.#fail(id, error);
  }

  /** No step can pass any more: all in flight and all later ones fail. */
  break(error: Error): void {
    this.#broken ??= error;
    this.#failAll(this.#broken);
    for (const waiting of this.#waitForRoute.splice(0)) waiting.reject(this.#broken);
  }

  /**
   * Resolves when all stages are done with all steps that were sent before.
   * @throws CoordinatorError as results do
   */
  settle(epoch: number): Promise<void> {
    return this.#do({ epoch });
  }

  /** What is no computing. */
  async #do(work: Partial<Pick<Step, 'copies' | 'keeps' | 'epoch'>>): Promise<void> {
    await new Promise<SegmentResult>((resolve, reject) => {
      const waiting = new Map([[nobody, { resolve, reject }]]);
      this.#submit({ segments: [], ...work, inOrder: true }, waiting);
    });
  }

  /** @returns the step's id */
  #submit(
    { epoch, ...step }: Omit<Step, 'id' | 'epoch'> & Partial<Pick<Step, 'epoch'>>,
    waiting: Map<number, Waiting>,
  ): number {
    const id = (this.#lastId = (this.#lastId % 0xffff_ffff) + 1);
    this.#inFlight.set(id, waiting);
    const route = this.#route;
    if (this.#broken || !route || (epoch ?? route.epoch) !== route.epoch)
      this.#fail(id, this.#broken ?? routeChanged());
    else void this.#enter(route, { id, epoch: route.epoch, ...step });
    return id;
  }

  async #enter(route: PipelineRoute, step: Step): Promise<void> {
    try {
      await route.submit(step);
    } catch (error) {
      this.failed(step, error as Error);
    }
  }

  #take({ step, sequence }: SegmentId): Waiting | undefined {
    const segments = this.#inFlight.get(step);
    const waiting = segments?.get(sequence);
    segments?.delete(sequence);
    if (segments?.size === 0) this.#inFlight.delete(step);
    return waiting;
  }

  #fail(id: number, error: Error): void {
    for (const waiting of this.#inFlight.get(id)?.values() ?? []) waiting.reject(error);
    this.#inFlight.delete(id);
  }

  #failAll(error: Error): void {
    for (const id of [...this.#inFlight.keys()]) this.#fail(id, error);
  }
}

/** What was sent, or made to be sent, does not fit the stages any more. */
export function routeChanged(): CoordinatorError {
  return new CoordinatorError('route', 'the stages were rearranged while the step was on its way');
}

/** Nobody wants the answer any more. */
export function cancelled(): CoordinatorError {
  return new CoordinatorError('cancelled', 'cancelled');
}
