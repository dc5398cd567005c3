import path from 'node:path';
import { Random } from '../../support/random.js';
import { acceptanceOf, measuredGuesses, oracleGuesses, type Guesses } from './measured-guesses.js';
import type { TreeShape } from './guess-tree.js';
import { simulateTrees, type TreeCosts, type TreePolicy } from './tree-simulator.js';

type StepCosts = TreeCosts['steps'];

/** 4-bit weight products of ggml on a Zen 4 core, as measured: multiples of four rows are cheap. */
export const processorSteps: StepCosts = [
  { rows: 1, units: 1 },
  { rows: 2, units: 1.5 },
  { rows: 3, units: 2 },
  { rows: 4, units: 1.3 },
  { rows: 8, units: 2.3 },
  { rows: 16, units: 4 },
];

/** Assumed of a GPU: memory bounds the step, sixteen rows cost little more than one. */
export const graphicsSteps: StepCosts = [1, 2, 4, 8, 16].map((rows) => ({
  rows,
  units: 1 + (0.3 * (rows - 1)) / 15,
}));

/** From one stage to the next, in units. */
const hop = 0.03;

/** Kinds of policies that are compared. */
export const shapes = {
  chain: { branches: 1, seesConfidence: false },
  'second guess at the first place': { ...leaves(1), seesConfidence: false },
  'second guesses everywhere': { ...leaves(Infinity), seesConfidence: false },
  'second guesses where unsure': { ...leaves(Infinity), seesConfidence: true },
  tree: { branches: 3, seesConfidence: false },
  'tree that knows the margins': { branches: 3, seesConfidence: true },
} satisfies Record<string, TreeShape>;

function leaves(branchingPlaces: number) {
  return { branches: 2, branchingPlaces, continuesBranches: false };
}

/** The fastest policy of a shape, and its tokens per unit. */
export interface Fastest {
  readonly policy: TreePolicy;
  readonly rate: number;
}

/** Tokens simulated to choose among policies, and then to say how fast those that seemed best are. */
const roughTokens = 1500;
const exactTokens = 10_000;
const finalists = 3;

/** Tries step sizes and steps in flight. */
export function fastestOf(shape: TreeShape, guesses: Guesses, costs: TreeCosts): Fastest {
  const simulate = (policy: TreePolicy, tokens: number) => ({
    policy,
    rate: simulateTrees(policy, guesses.confidences, costs, tokens, new Random(9)),
  });
  const ranked = policiesOf(shape, costs)
    .map((policy) => simulate(policy, roughTokens))
    .sort((a, b) => b.rate - a.rate);
  return ranked
    .slice(0, finalists)
    .map(({ policy }) => simulate(policy, exactTokens))
    .reduce((a, b) => (b.rate > a.rate ? b : a));
}

function policiesOf(shape: TreeShape, { stages }: TreeCosts): TreePolicy[] {
  const windows = [1, 2, 3, 4, 6].filter((window) => window <= 1.5 * stages);
  const sizes = [2, 4, 8, 16];
  return windows.flatMap((window) =>
    sizes.flatMap((first) =>
      (window === 1 ? [first] : sizes).map((others) => ({
        ...shape,
        window,
        rows: [first, others],
      })),
    ),
  );
}

/** A line per number of stages and draft: the best chain against plain decoding, and the best of each shape against it. */
function* figures(name: string, steps: StepCosts, draft: number): Generator<string, void> {
  const oracles = [0.6, 0.7, 0.8].flatMap((acceptance) =>
    [0.3, 0.5].map((second) => oracleGuesses(acceptance, second)),
  );
  for (const stages of [1, 2, 4])
    for (const guesses of [...oracles, ...measuredGuesses]) {
      const costs = { stages, steps, hop, draft };
      const best = Object.values(shapes).map((shape) => fastestOf(shape, guesses, costs));
      const chainRate = best[0]?.rate ?? 0;
      const gains = best.map(
        ({ rate, policy: { rows, window } }) =>
          `${(rate / chainRate).toFixed(2)} (${rows.join()} × ${window})`,
      );
      const againstPlain = (chainRate * stages * (1 + hop)).toFixed(2);
      const acceptance = acceptanceOf(guesses).toFixed(2);
      yield [name, stages, draft, guesses.name, acceptance, againstPlain, ...gains].join(' | ');
    }
}

if (path.basename(process.argv[1] ?? '') === 'tree-figures.js') {
  const columns = ['steps', 'stages', 'draft', 'guesses', 'right', 'best chain × plain'];
  console.log([...columns, ...Object.keys(shapes)].join(' | '));
  for (const line of figures('processor', processorSteps, 0.02)) console.log(line);
  for (const line of figures('graphics', graphicsSteps, 0.02)) console.log(line);
  for (const line of figures('graphics', graphicsSteps, 0.1)) console.log(line);
}
