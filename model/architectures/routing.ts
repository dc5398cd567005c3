/** How experts are scored. `softmax of chosen`: the softmax is over the chosen experts only. */
export type Gating = 'softmax' | 'sigmoid' | 'softmax of chosen';

/** How experts are chosen, and weighted. */
export interface RoutingOptions {
  readonly gating: Gating;
  readonly experts: number;
  /** Experts that a row goes through. */
  readonly chosen: number;
  /** Name of f32 [experts], added to scores for the choice alone (arXiv 2408.15664). */
  readonly selectionBias?: string;
  /** Experts are in groups of equal size, of which the best `chosen` by their two best experts are considered (arXiv 2412.19437). */
  readonly groups?: { readonly count: number; readonly chosen: number };
  /** Whether the weights of the chosen are made to have the sum 1. */
  readonly normalise: boolean;
  /** Multiplies weights; default 1. */
  readonly scale?: number;
  /** Whether experts' inputs, rather than what they give, are multiplied by the weights. */
  readonly weighsInputs?: boolean;
}

/** What experts rows go through. */
export interface Routing<Value> {
  readonly options: RoutingOptions;
  /** Indices, [chosen, n]. */
  readonly ids: Value;
  /** [chosen, n]. */
  readonly weights: Value;
}
