import type { Random } from '../../support/random.js';
import {
  GuessTree,
  type Candidate,
  type Confidence,
  type GuessNode,
  type TreeShape,
} from './guess-tree.js';

/** A pipeline of equal stages. Times are in units: what a step of one row takes on a stage. */
export interface TreeCosts {
  readonly stages: number;
  /** What steps take on a stage, for the numbers of rows that are considered, ascending. */
  readonly steps: readonly { readonly rows: number; readonly units: number }[];
  /** From one stage to the next, and back. */
  readonly hop: number;
  /** The guesses that follow one token, on the first stage's processor. */
  readonly draft: number;
}

/** What to put into steps, and when. A step's guesses are always those that are likeliest to be needed. */
export interface TreePolicy extends TreeShape {
  /** Most steps in flight. */
  readonly window: number;
  /** Rows of the steps since the last token that nobody had guessed, the last entry for all that follow. */
  readonly rows: readonly number[];
}

type Node = GuessNode<Step>;

interface Step {
  readonly nodes: readonly Node[];
  readonly drafting: number;
  /** The stage that computes it, that it waits for, or that it is on its way to; behind the last, the coordinator. */
  stage: number;
  state: 'travels' | 'waits' | 'computes';
  /** When it has been computed, or has arrived. */
  until: number;
}

/**
 * Simulates decoding with trees of guesses, in the pipeline or one step at a time. Steps whose guesses have all been
 * refuted are given up at once; one that has a needed guess left is computed as it is.
 * @param confidences of the draft, drawn independently for every place
 * @returns tokens per unit
 */
export function simulateTrees(
  policy: TreePolicy,
  confidences: readonly Confidence[],
  costs: TreeCosts,
  tokens: number,
  random: Random,
): number {
  const tree = new GuessTree<Step>(policy, confidences, random);
  return new TreeSimulation(policy, costs, tree).run(tokens);
}

class TreeSimulation {
  #now = 0;
  #certain = 0;
  /** In the order of submission. */
  #inFlight: Step[] = [];
  #stepsSinceSurprise = 0;

  constructor(
    private readonly policy: TreePolicy,
    private readonly costs: TreeCosts,
    private readonly tree: GuessTree<Step>,
  ) {}

  run(tokens: number): number {
    while (this.#certain < tokens) {
      this.#submit();
      this.#beginComputing();
      const moving = this.#inFlight.filter(({ state }) => state !== 'waits');
      const next = moving.reduce((first, step) => (step.until < first.until ? step : first));
      this.#now = next.until;
      this.#move(next);
    }
    return this.#certain / this.#now;
  }

  #submit(): void {
    if (this.#inFlight.length >= this.policy.window) return;
    if (this.#inFlight.some(({ stage }) => stage === 0)) return;
    const { rows } = this.policy;
    const chosen = this.tree.likeliest(
      rows[Math.min(this.#stepsSinceSurprise, rows.length - 1)] ?? 1,
    );
    const nodes = chosen.map(({ node }) => node);
    const drafting = this.costs.draft * countUndrafted(chosen);
    const step: Step = { nodes, drafting, stage: 0, state: 'waits', until: this.#now };
    for (const node of nodes) node.step = step;
    this.#inFlight.push(step);
    this.#stepsSinceSurprise++;
  }

  #beginComputing(): void {
    for (let stage = 0; stage < this.costs.stages; stage++) {
      const here = this.#inFlight.filter((step) => step.stage === stage);
      const next = here.find(({ state }) => state === 'waits');
      if (!next || here.some(({ state }) => state === 'computes')) continue;
      next.state = 'computes';
      next.until = this.#now + this.#units(next) + (stage === 0 ? next.drafting : 0);
    }
  }

  #units({ nodes }: Step): number {
    const step = this.costs.steps.find(({ rows }) => rows >= nodes.length);
    if (!step) throw new Error(`no costs for ${nodes.length} rows`);
    return step.units;
  }

  #move(step: Step): void {
    if (step.state === 'computes') {
      step.stage++;
      step.state = 'travels';
      step.until = this.#now + this.costs.hop;
    } else if (step.stage < this.costs.stages) step.state = 'waits';
    else this.#finish(step);
  }

  #finish(step: Step): void {
    for (const node of step.nodes) node.isComputed = true;
    const { tokens, surprised } = this.tree.settle();
    this.#certain += tokens;
    if (surprised) this.#stepsSinceSurprise = 0;
    const needed = this.tree.neededSteps();
    this.#inFlight = this.#inFlight.filter((other) => other !== step && needed.has(other));
  }
}

/** Tokens whose guesses have to be drafted first. */
function countUndrafted(chosen: readonly Candidate<Step>[]): number {
  let count = 0;
  for (const { parent } of chosen) {
    if (!parent || parent.isDrafted) continue;
    parent.isDrafted = true;
    count++;
  }
  return count;
}
