import { TokenText } from '../../../step/token-text.js';
import { SpeculationController, type DraftRequest } from '../../../speculative/controller.js';
import { stageMs, type PipelineCosts } from '../../../speculative/cost-model.js';
import type { Schedule } from '../../../speculative/schedule.js';
import type { Random } from '../../support/random.js';

/** What the simulated target always chooses, and a wrong guess. */
const right = 1;
const wrong = 0;

interface Step {
  readonly id: number;
  readonly count: number;
}

/** A stage: computes steps in the order of their arrival; the coordinator's drafts when it has none. */
interface Server {
  readonly queue: Step[];
  current: Step | 'draft' | undefined;
  /** Changes when what is computed is given up. */
  epoch: number;
}

/**
 * Runs the real controller against a clock of its own: a discrete-event simulation of stages, links and drafts, to
 * compare the cost model with.
 * @returns tokens per millisecond
 */
export function simulate(
  schedule: Schedule,
  acceptance: number,
  costs: PipelineCosts,
  tokens: number,
  random: Random,
): number {
  return new Simulation(schedule, acceptance, costs, tokens, random).run();
}

interface Event {
  readonly at: number;
  /** Of events at the same time, the first that was planned comes first. */
  readonly order: number;
  readonly run: () => void;
}

class Simulation {
  #now = 0;
  readonly #events: Event[] = [];
  readonly #cancelled = new Set<number>();
  #order = 0;
  readonly #controller: SpeculationController;
  readonly #servers: Server[];
  #drafting: { readonly request: DraftRequest; count: number } | undefined;

  constructor(
    schedule: Schedule,
    private readonly acceptance: number,
    private readonly costs: PipelineCosts,
    private readonly tokens: number,
    private readonly random: Random,
  ) {
    this.#controller = new SpeculationController({
      text: new TokenText([right]),
      maxTokens: tokens,
      cells: 2 * tokens,
      maxStepTokens: 64,
      isEnd: () => false,
      schedule: () => schedule,
    });
    this.#servers = costs.stages.map(() => ({ queue: [], current: undefined, epoch: 0 }));
  }

  run(): number {
    this.#proceed();
    while (!this.#controller.ended) {
      const next = this.#takeEvent();
      this.#now = next.at;
      next.run();
      this.#proceed();
    }
    return this.tokens / this.#now;
  }

  #takeEvent(): Event {
    const next = this.#events.reduce((first, event) =>
      event.at < first.at || (event.at === first.at && event.order < first.order) ? event : first,
    );
    this.#events.splice(this.#events.indexOf(next), 1);
    return next;
  }

  #after(ms: number, run: () => void): void {
    this.#events.push({ at: this.#now + ms, order: this.#order++, run });
  }

  #proceed(): void {
    for (let step = this.#controller.takeStep(); step; step = this.#controller.takeStep())
      this.#servers[0]?.queue.push(step);
    if (!this.#drafting) {
      const request = this.#controller.wantedDrafts();
      if (request) this.#drafting = { request, count: 0 };
    }
    for (const [i, server] of this.#servers.entries())
      if (server.current === undefined) this.#begin(server, i);
  }

  #begin(server: Server, index: number): void {
    const step = server.queue.shift();
    const epoch = server.epoch;
    if (step) {
      server.current = step;
      this.#after(stageMs(this.costs.stages[index] ?? [], step.count), () => {
        if (server.epoch !== epoch) return;
        server.current = undefined;
        this.#computed(step, index);
      });
    } else if (index === 0 && this.#drafting) {
      server.current = 'draft';
      this.#after(this.costs.draftMs, () => {
        server.current = undefined;
        this.#drafted();
      });
    }
  }

  #drafted(): void {
    const drafting = this.#drafting;
    if (!drafting) return;
    const { request } = drafting;
    const token = this.random.share() < this.acceptance ? right : wrong;
    const goesOn = this.#controller.addDraft(request, drafting.count++, token);
    if (!goesOn || drafting.count === request.count) this.#drafting = undefined;
  }

  #computed(step: Step, index: number): void {
    const next = this.#servers[index + 1];
    if (next)
      return this.#after(this.costs.hopMs, () => {
        if (!this.#cancelled.has(step.id)) next.queue.push(step);
      });
    const choices = new Array<number>(step.count).fill(right);
    this.#after(this.costs.hopMs, () => {
      const { cancelled } = this.#controller.finished(step.id, choices);
      this.#cancel(new Set(cancelled));
    });
  }

  /** Steps that wait, compute or are on their way are given up. */
  #cancel(ids: ReadonlySet<number>): void {
    if (ids.size === 0) return;
    for (const id of ids) this.#cancelled.add(id);
    for (const server of this.#servers) {
      const kept = server.queue.filter(({ id }) => !ids.has(id));
      server.queue.splice(0, Infinity, ...kept);
      if (typeof server.current !== 'object' || !ids.has(server.current.id)) continue;
      server.epoch++;
      server.current = undefined;
    }
  }
}
