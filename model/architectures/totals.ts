import { tensorTypeNamed } from '../gguf/tensor-types.js';
import type { TensorSource } from '../tensor-source.js';
import { cellBytes, keptCells, layerMemory, type Layer } from './layer.js';
import type { Model } from './model.js';

/** What a model takes, before it is loaded. */
export interface ModelTotals {
  /** Numbers in its tensors. */
  readonly parameters: number;
  /** Those of them that a token goes through: all but the experts that it does not. */
  readonly activeParameters: number;
  /** Layers that are alike, in the order of their first ones. */
  readonly layerKinds: readonly LayerKind[];
  /** Bytes of keys and values, as f16, that every token of a text adds. */
  readonly tokenBytes: number;
  /** Bytes that a text takes besides, however long it is: rings of layers with a window, and states. */
  readonly sequenceBytes: number;
}

export interface LayerKind {
  readonly name: string;
  readonly layers: number;
  /** Of the weights of all of them. */
  readonly bytes: number;
}

/** @param tensors of the model's file; those that the model does not use count nowhere */
export function modelTotals(
  { layers, tensors: expected, sizes }: Model,
  tensors: TensorSource['tensors'],
): ModelTotals {
  const kinds = new Map<string, { layers: number; bytes: number }>();
  const kindOf = layers.map((layer) => {
    const name = kindName(layer);
    const kind = kinds.get(name) ?? { layers: 0, bytes: 0 };
    kinds.set(name, kind);
    kind.layers++;
    return kind;
  });
  let [parameters, activeParameters] = [0, 0];
  for (const { name, shape, bytes } of tensors.values()) {
    if (!expected.has(name)) continue;
    const count = shape.reduce((product, size) => product * size, 1);
    const index = layerOf(name);
    parameters += count;
    activeParameters += count * activeShare(name, layers);
    const kind = index === undefined ? undefined : kindOf[index];
    if (kind) kind.bytes += bytes;
  }
  return {
    parameters,
    activeParameters: Math.round(activeParameters),
    layerKinds: [...kinds].map(([name, kind]) => ({ name, ...kind })),
    ...keptBytes(layers, sizes.contextLength),
  };
}

function layerOf(tensor: string): number | undefined {
  const index = /^blk\.(\d+)\./.exec(tensor)?.[1];
  return index === undefined ? undefined : Number(index);
}

/** How much of a tensor a token goes through. */
export function activeShare(tensor: string, layers: readonly Layer[]): number {
  const { chosen, experts } = expertsOf(tensor, layers) ?? { chosen: 1, experts: 1 };
  return chosen / experts;
}

/**
 * The layer whose experts have their matrices in a tensor, which is named so, and how many there are.
 * @returns undefined for all other tensors
 */
export function expertsOf(
  tensor: string,
  layers: readonly Layer[],
): { readonly layer: number; readonly experts: number; readonly chosen: number } | undefined {
  const layer = layerOf(tensor);
  const feedForward = layer === undefined ? undefined : layers[layer]?.feedForward;
  if (layer === undefined || feedForward?.kind !== 'moe' || !/_exps\./.test(tensor))
    return undefined;
  const { experts, chosen } = feedForward;
  return { layer, experts, chosen };
}

function kindName({ attention, feedForward }: Layer): string {
  const attends = {
    gqa: 'attention',
    mla: 'latent attention',
    linear: 'a state',
  }[attention.kind];
  const window =
    attention.kind === 'gqa' && attention.window !== undefined
      ? ` to ${attention.window} tokens`
      : '';
  const fed =
    feedForward.kind === 'moe'
      ? `${feedForward.chosen} of ${feedForward.experts} experts`
      : 'a feed-forward';
  return `${attends}${window} and ${fed}`;
}

function keptBytes(
  layers: readonly Layer[],
  contextLength: number,
): Pick<ModelTotals, 'tokenBytes' | 'sequenceBytes'> {
  const f16 = tensorTypeNamed('f16');
  let [tokenBytes, sequenceBytes] = [0, 0];
  for (const layer of layers) {
    const memory = layerMemory(layer);
    if (memory.kind === 'state') sequenceBytes += memory.bytes;
    else if (memory.window === undefined) tokenBytes += cellBytes(memory, f16, f16);
    else sequenceBytes += keptCells(memory.window, contextLength, 1) * cellBytes(memory, f16, f16);
  }
  return { tokenBytes, sequenceBytes };
}
