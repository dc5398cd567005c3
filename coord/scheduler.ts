import { bestCohorts } from '../speculative/batch-rate.js';
import type { PassCosts } from '../speculative/cost-model.js';

/** Parts of texts that may be under way at once for each stage, while nobody decodes. */
const textsPerStage = 2;

/** Rows of several sequences, one each, whose successors are wanted; or a part of one text. */
export type StepKind = 'token' | 'text';

/** A sequence that waits for its next token. */
export interface Waiting {
  /** What has to be computed next of it; undefined while all is on its way. */
  readonly wants: StepKind | undefined;
  /** The smallest comes first; see `FairOrder`. */
  readonly due: number;
}

/** All that the next step depends on. */
export interface Situation<Sequence extends Waiting> {
  /** In the order that they came in. */
  readonly waiting: readonly Sequence[];
  /** Sequences of which one row waits, or is on its way. */
  readonly decoding: number;
  /** Sequences that are decoded beside these, with drafts. */
  readonly speculating: number;
  /** Steps on their way, by what is in them. */
  readonly inFlight: Readonly<Record<StepKind, number>>;
  readonly costs: PassCosts;
  /** Most rows in a step that several share. */
  readonly mostRows: number;
}

/** A step that should be made now. */
export type NextStep<Sequence extends Waiting> =
  | { readonly kind: 'token'; readonly sequences: readonly Sequence[] }
  | {
      readonly kind: 'text';
      readonly sequence: Sequence;
      /** Whether the part is to be short, as others are waiting for tokens. */
      readonly isShort: boolean;
    };

/**
 * What to compute next: the policy alone, which knows neither clocks nor sockets. Ask again until there is nothing.
 *
 * Sequences that are decoded share steps. There are about as many steps in flight as there are stages, so that each has one
 * to compute, and all carry about as many rows. Texts are read in parts beside them: those who are due first, one after
 * the other; while anybody decodes, in short parts, of which few are under way.
 */
export function nextStep<Sequence extends Waiting>(
  situation: Situation<Sequence>,
): NextStep<Sequence> | undefined {
  return tokenStep(situation) ?? textStep(situation);
}

function tokenStep<Sequence extends Waiting>({
  waiting,
  decoding,
  inFlight,
  costs,
  mostRows,
}: Situation<Sequence>): NextStep<Sequence> | undefined {
  const ready = inOrder(waiting, 'token');
  if (ready.length === 0) return undefined;
  const cohorts = bestCohorts(decoding, costs, mostRows);
  if (inFlight.token >= cohorts) return undefined;
  const rows = Math.min(mostRows, Math.ceil(decoding / cohorts));
  return { kind: 'token', sequences: ready.slice(0, rows) };
}

function textStep<Sequence extends Waiting>({
  waiting,
  decoding,
  speculating,
  inFlight,
  costs,
}: Situation<Sequence>): NextStep<Sequence> | undefined {
  const [sequence] = inOrder(waiting, 'text');
  const isShort = decoding + speculating > 0;
  const stages = Math.max(1, costs.stages.length);
  const most = isShort ? stages + 1 : textsPerStage * stages;
  return sequence && inFlight.text < most ? { kind: 'text', sequence, isShort } : undefined;
}

function inOrder<Sequence extends Waiting>(
  waiting: readonly Sequence[],
  what: StepKind,
): Sequence[] {
  return waiting.filter(({ wants }) => wants === what).sort((a, b) => a.due - b.due);
}
