import type { Random } from '../../support/random.js';

/** How good a draft's guesses for one place are. */
export interface Confidence {
  /** How often it occurs, relative to the others. */
  readonly weight: number;
  /** Probabilities that the first, the second, ... guess is the target's choice. */
  readonly right: readonly number[];
}

/** Where a tree may have branches; which of those it has, their probabilities say. */
export interface TreeShape {
  /** Guesses for the same place, at most: 1 makes chains. */
  readonly branches: number;
  /** Places after the last certain token that may have more than one guess; default all. */
  readonly branchingPlaces?: number;
  /** Whether guesses follow second and third guesses too, before these are known to be right; default true. */
  readonly continuesBranches?: boolean;
  /** Whether it is known how good each guess is, as by the margin between a draft's first two; otherwise their mean. */
  readonly seesConfidence: boolean;
}

/** A guess; or, at the root, the last certain token. */
export interface GuessNode<Step> {
  readonly confidence: Confidence;
  readonly children: (GuessNode<Step> | undefined)[];
  /** Whether its children have been drafted. */
  isDrafted: boolean;
  /** The step that computes it, if any. */
  step: Step | undefined;
  /** Whether that has come back, so that the target's choice after it is known. */
  isComputed: boolean;
}

/** A node that could be computed next. */
export interface Candidate<Step> {
  readonly node: GuessNode<Step>;
  readonly parent: GuessNode<Step> | undefined;
  /** That the text will need it, by what is known so far. */
  readonly probability: number;
  /** Guesses between it and the last certain token, and whether one of them is not the first of its place. */
  readonly depth: number;
  readonly onBranch: boolean;
}

/** What a draft guesses after a text, and what becomes of it. */
export class GuessTree<Step> {
  #root: GuessNode<Step>;
  readonly #total: number;
  readonly #mean: readonly number[];

  constructor(
    private readonly shape: TreeShape,
    private readonly confidences: readonly Confidence[],
    private readonly random: Random,
  ) {
    this.#total = confidences.reduce((sum, { weight }) => sum + weight, 0);
    this.#mean = Array.from(
      { length: shape.branches },
      (_, rank) =>
        confidences.reduce((sum, { weight, right }) => sum + weight * (right[rank] ?? 0), 0) /
        this.#total,
    );
    this.#root = this.#draw();
  }

  /** The nodes that no step has yet and that are likeliest to be needed, the likeliest first, each after its parent. */
  likeliest(count: number): Candidate<Step>[] {
    const root = { node: this.#root, parent: undefined, probability: 1, depth: 0, onBranch: false };
    const pool: Candidate<Step>[] = [root];
    const found: Candidate<Step>[] = [];
    while (found.length < count && pool.length > 0) {
      const best = pool.reduce((a, b) => (b.probability > a.probability ? b : a));
      pool.splice(pool.indexOf(best), 1);
      if (!best.node.step) found.push(best);
      pool.push(...this.#childrenOf(best));
    }
    return found;
  }

  /**
   * Follows the target's choices as far as they are known.
   * @returns tokens that have become certain, and whether the last one was no guess
   */
  settle(): { readonly tokens: number; readonly surprised: boolean } {
    let tokens = 0;
    let surprised = false;
    for (; this.#root.isComputed; tokens++) {
      const next = this.#root.children[this.#drawRank(this.#root.confidence)];
      surprised = !next;
      this.#root = next ?? this.#draw();
    }
    return { tokens, surprised };
  }

  /** Steps that compute something that the text may still need. */
  neededSteps(): ReadonlySet<Step> {
    const needed = new Set<Step>();
    const visit = ({ step, children }: GuessNode<Step>): void => {
      if (step) needed.add(step);
      for (const child of children) if (child) visit(child);
    };
    visit(this.#root);
    return needed;
  }

  #childrenOf({ node, probability, depth, onBranch }: Candidate<Step>): Candidate<Step>[] {
    const { branches, branchingPlaces = Infinity, continuesBranches = true } = this.shape;
    if (onBranch && !continuesBranches) return [];
    const right = this.shape.seesConfidence ? node.confidence.right : this.#mean;
    return right.slice(0, depth < branchingPlaces ? branches : 1).map((share, rank) => ({
      node: (node.children[rank] ??= this.#draw()),
      parent: node,
      probability: probability * share,
      depth: depth + 1,
      onBranch: onBranch || rank > 0,
    }));
  }

  #draw(): GuessNode<Step> {
    let left = this.random.share() * this.#total;
    const drawn = this.confidences.find(({ weight }) => (left -= weight) < 0);
    const confidence = drawn ?? { weight: 1, right: [] };
    return { confidence, children: [], isDrafted: false, step: undefined, isComputed: false };
  }

  /** Which of the guesses after a token is the target's choice; -1 for none. */
  #drawRank({ right }: Confidence): number {
    let left = this.random.share();
    return right.findIndex((share) => (left -= share) < 0);
  }
}
