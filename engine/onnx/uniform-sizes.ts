import { isDeepStrictEqual } from 'node:util';
import type { Model } from '../../model/architectures/model.js';
import type { RopeParameters } from '../../model/architectures/rope.js';
import { EngineError } from '../engine.js';

/** The sizes of a model whose layers are all alike: what the graphs of this engine are made for. */
export interface UniformSizes {
  readonly hiddenSize: number;
  readonly vocabulary: number;
  readonly heads: number;
  readonly kvHeads: number;
  /** Of keys and of values. */
  readonly headSize: number;
  readonly rope: RopeParameters;
}

/** Ops that the graph builder writes. */
const known: ReadonlySet<string> = new Set([
  ...['rmsNorm', 'linear', 'splitHeads', 'slice', 'rope', 'attention'],
  ...['gated by silu', 'add', 'scale'],
]);

/**
 * @throws EngineError 'unsupported' that names what this engine cannot compute of a model: said before anything is loaded
 */
export function uniformSizes({ family, sizes, layers, features, ropes }: Model): UniformSizes {
  const unsupported = (what: string) =>
    new EngineError(
      'unsupported',
      `ONNX Runtime cannot compute ${what} (a model of the ${family} family) here: use --engine ggml`,
    );
  const [first] = layers;
  if (layers.some(({ attention }) => attention.kind === 'linear'))
    throw unsupported('layers that keep a state');
  if (layers.some(({ feedForward }) => feedForward.kind === 'moe')) throw unsupported('experts');
  for (const feature of features) if (!known.has(feature)) throw unsupported(`"${feature}"`);
  if (first?.attention.kind !== 'gqa' || first.attention.keySize !== first.attention.valueSize)
    throw unsupported('this attention');
  const { attention } = first;
  if (layers.some((layer) => !isDeepStrictEqual(layer.attention, attention)))
    throw unsupported('layers that attend in different ways');
  const { heads, kvHeads, keySize: headSize, scale, window, softcap, sinks } = attention;
  if (window !== undefined) throw unsupported('sliding windows');
  if (softcap !== undefined || sinks !== undefined) throw unsupported('scores of this kind');
  if (scale !== 1 / Math.sqrt(headSize)) throw unsupported('scores of another scale');
  const [rope] = ropes;
  if (!rope || !ropes.every((other) => isDeepStrictEqual(other, rope)))
    throw unsupported('positions of this kind');
  const { hiddenSize, vocabulary } = sizes;
  return { hiddenSize, vocabulary, heads, kvHeads, headSize, rope };
}
