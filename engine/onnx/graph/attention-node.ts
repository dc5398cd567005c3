import type { Graph } from './graph.js';
import { segmentInput } from './input-names.js';
import { microsoft } from './model-proto.js';

/** Names of queries, keys and values: f32 [1, n, heads · headSize] each. */
export interface Rows {
  readonly queries: string;
  readonly keys: string;
  readonly values: string;
}

/** How rows attend, and to what. */
export interface AttentionOptions {
  /** Heads of queries in a row. */
  readonly heads: number;
  readonly kvHeads: number;
  /** Of the segment whose rows they are. */
  readonly place: number;
  /** Past keys and values, which the rows' are added to; without them, rows see each other and those before them alone. */
  readonly cells?: readonly string[];
  /** Of cells that are int8. */
  readonly scales?: readonly string[];
  /** f32 [1, 1, n, cells] that is added to scores. */
  readonly mask?: string;
  /** Whether rows see later ones, where no mask hides them. */
  readonly seesAhead?: boolean;
}

/** Makes a score vanish. Finite, so that a token that sees nothing does not become NaN. */
export const hides = -3e38;

/**
 * Adds one node of attention.
 * @returns `outputs`: what was attended to, and present keys and values
 */
export function addAttentionNode(
  graph: Graph,
  { queries, keys, values }: Rows,
  { heads, kvHeads, place, cells = ['', ''], scales = [], mask, seesAhead }: AttentionOptions,
  outputs: readonly string[] = [graph.newName(), graph.newName(), graph.newName()],
): readonly string[] {
  const { lastCell, cells: count } = segmentInput(place);
  // Rotation is done already, so there are no tables and positions; nor are there sinks behind the mask.
  const lengths = [lastCell, count, '', '', ''];
  graph.nodeWithOutputs(
    'GroupQueryAttention',
    [queries, keys, values, ...cells, ...lengths, mask ?? '', '', ...scales],
    outputs,
    {
      num_heads: heads,
      kv_num_heads: kvHeads,
      ...(seesAhead ? { causal: 0 } : {}),
      ...(scales.length > 0 ? int8Attributes : {}),
    },
    microsoft,
  );
  return outputs;
}

const int8Attributes = {
  k_quant_type: 'PER_CHANNEL',
  v_quant_type: 'PER_CHANNEL',
  kv_cache_bit_width: 8,
} as const;
