import type { RoutingOptions } from '../../model/architectures/routing.js';
import type { Ggml, Pointer } from './bindings.js';

const f32Bytes = Float32Array.BYTES_PER_ELEMENT;

/** Sums of weights are no smaller: a row whose experts all have a score of zero does not become NaN. */
const leastSum = 6.103515625e-5;

/**
 * Chooses experts by a step's scores.
 * @param logits f32 [experts, rows]
 * @param bias f32 [experts]
 * @returns ids: i32 [chosen, rows]; weights: f32 [chosen, rows], contiguous
 */
export function chooseExperts(
  ggml: Ggml,
  context: Pointer,
  logits: Pointer,
  rows: number,
  options: RoutingOptions,
  bias: Pointer | undefined,
): { readonly ids: Pointer; readonly weights: Pointer } {
  const { gating, experts, chosen, groups, normalise, scale = 1 } = options;
  const scores = scoresBy(ggml, context, logits, gating);
  const biased = bias === undefined ? scores : ggml.add(context, scores, bias);
  const considered =
    groups && groups.count > 1 ? withinGroups(ggml, context, biased, rows, options) : biased;
  const ids = ggml.argsortTopK(context, considered, chosen);
  const each = ggml.reshape3d(context, scores, 1, experts, rows);
  let weights = ggml.reshape2d(context, ggml.getRows(context, each, ids), chosen, rows);
  if (gating === 'softmax of chosen') weights = ggml.softMax(context, weights, null, 1, 0);
  if (normalise) {
    const sum = ggml.clamp(context, ggml.sumRows(context, weights), leastSum, Infinity);
    weights = ggml.div(context, weights, sum);
  }
  if (scale !== 1) weights = ggml.scale(context, weights, scale);
  return { ids, weights };
}

function scoresBy(
  ggml: Ggml,
  context: Pointer,
  logits: Pointer,
  gating: RoutingOptions['gating'],
): Pointer {
  switch (gating) {
    case 'softmax':
      return ggml.softMax(context, logits, null, 1, 0);
    case 'sigmoid':
      return ggml.sigmoid(context, logits);
    case 'softmax of chosen':
      return logits;
  }
}

/** Scores of experts outside the best groups become -infinity. A group is as good as its two best experts. */
function withinGroups(
  ggml: Ggml,
  context: Pointer,
  scores: Pointer,
  rows: number,
  { experts, groups = { count: 1, chosen: 1 } }: RoutingOptions,
): Pointer {
  const { count, chosen } = groups;
  const each = experts / count;
  const grouped = ggml.reshape3d(context, scores, each, count, rows);
  const bestTwo = ggml.argsortTopK(context, grouped, 2);
  const two = ggml.getRows(
    context,
    ggml.reshape4d(context, grouped, 1, each, count, rows),
    bestTwo,
  );
  const sums = ggml.sumRows(context, ggml.reshape3d(context, two, 2, count, rows));
  const best = ggml.argsortTopK(context, ggml.reshape2d(context, sums, count, rows), chosen);
  const kept = ggml.getRows(context, grouped, best);
  const none = ggml.fill(context, grouped, -Infinity);
  const all = ggml.setRows(context, none, kept, best);
  return ggml.reshape2d(context, all, experts, rows);
}

/** [size, chosen, rows] → [size, rows], one expert after the other, so that a row's bits do not depend on others. */
export function sumOverExperts(
  ggml: Ggml,
  context: Pointer,
  x: Pointer,
  size: number,
  chosen: number,
  rows: number,
): Pointer {
  const expert = (index: number) =>
    ggml.view2d(context, x, size, rows, chosen * size * f32Bytes, index * size * f32Bytes);
  if (chosen === 1) return ggml.contiguous(context, expert(0));
  let sum = ggml.add(context, expert(0), expert(1));
  for (let index = 2; index < chosen; index++) sum = ggml.add(context, sum, expert(index));
  return sum;
}
