import type { LayerRoutings } from '../engine/routing-counts.js';
import { expertsOf } from '../model/architectures/totals.js';
import { readModel } from '../model/architectures/model.js';
import type { TensorSource } from '../model/tensor-source.js';

/** How evenly the experts of a layer were used, and what that cost. */
export interface LayerUse extends LayerRoutings {
  /** Share of the expert that was chosen most often, 0 to 1. */
  readonly hottestShare: number;
  /** Share of the tenth of the experts that were chosen most often, at least one. */
  readonly hottestTenthShare: number;
  /** Entropy of the choices, in bits, and what it would be if all experts were chosen equally often. */
  readonly entropyBits: number;
  readonly mostEntropyBits: number;
  readonly distinctPerStep: number;
  /** Bytes of experts that steps read, for each of their rows; and what each row would read alone. */
  readonly bytesPerToken: number;
  readonly bytesAlone: number;
}

/** The same of all layers. */
export interface ExpertUse extends Pick<LayerUse, 'bytesPerToken' | 'bytesAlone'> {
  readonly layers: readonly LayerUse[];
}

/**
 * What routings say of how experts are used. Steps read an expert once, however many rows go through it.
 * @param source the model, as its file has the weights
 * @param routings of all layers with experts; those that no row went through are left out
 */
export function expertUse(
  source: Pick<TensorSource, 'metadata' | 'tensors'>,
  routings: readonly LayerRoutings[],
): ExpertUse {
  const bytes = bytesOfExperts(source);
  const layers = routings
    .filter(({ rows }) => rows > 0)
    .map((counted) => layerUse(counted, bytes.get(counted.layer) ?? 0));
  const sum = (part: (use: LayerUse) => number) =>
    layers.reduce((total, use) => total + part(use), 0);
  return {
    layers,
    bytesPerToken: sum(({ bytesPerToken }) => bytesPerToken),
    bytesAlone: sum(({ bytesAlone }) => bytesAlone),
  };
}

function layerUse(counted: LayerRoutings, expertBytes: number): LayerUse {
  const { counts, rows, steps, distinct } = counted;
  const total = counts.reduce((sum, count) => sum + count, 0);
  const shares = counts.map((count) => count / total).sort((a, b) => b - a);
  const tenth = shares.slice(0, Math.ceil(shares.length / 10));
  return {
    ...counted,
    hottestShare: shares[0] ?? 0,
    hottestTenthShare: tenth.reduce((sum, share) => sum + share, 0),
    entropyBits: entropy(shares),
    mostEntropyBits: Math.log2(counts.length),
    distinctPerStep: distinct / steps,
    bytesPerToken: (expertBytes * distinct) / rows,
    bytesAlone: (expertBytes * total) / rows,
  };
}

function entropy(shares: readonly number[]): number {
  return shares.reduce((sum, share) => (share > 0 ? sum - share * Math.log2(share) : sum), 0);
}

/** Bytes of one expert of every layer. */
function bytesOfExperts(
  source: Pick<TensorSource, 'metadata' | 'tensors'>,
): ReadonlyMap<number, number> {
  const { layers } = readModel(source);
  const bytes = new Map<number, number>();
  for (const { name, bytes: all } of source.tensors.values()) {
    const part = expertsOf(name, layers);
    if (part) bytes.set(part.layer, (bytes.get(part.layer) ?? 0) + all / part.experts);
  }
  return bytes;
}
