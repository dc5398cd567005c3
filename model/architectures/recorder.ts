import { embeddingTensor, headBias, headTensorName } from '../shard-tensors.js';
import type { AttentionOptions, GateKind, GraphBuilder } from './graph-builder.js';
import type { Attention, FeedForward, Layer, LinearAttention } from './layer.js';
import type { RopeParameters } from './rope.js';
import type { Routing, RoutingOptions } from './routing.js';

/** What a tensor is for: to multiply rows with, or heads or rows of experts, each with a matrix of its own; or by element. */
export type TensorUse = 'matrix' | 'matrices of heads' | 'matrices of experts' | 'numbers';

/** A tensor as the family wants it. */
export interface ExpectedTensor {
  readonly name: string;
  /** [inputs, outputs] of a matrix, with heads or experts after them. */
  readonly shape: readonly number[];
  readonly use: TensorUse;
}

/** A value as the recorder knows it: features of a row, or of every head where there are any. */
export interface Features {
  readonly size: number;
  /** Undefined where it is not split. */
  readonly heads?: number;
}

/** What is said of a graph, op by op: nothing is computed. It finds a model's tensors and what its layers keep. */
export class Recorder implements GraphBuilder<Features> {
  readonly tensors = new Map<string, ExpectedTensor>();
  /** Ops by their names, and what of them not every engine has. */
  readonly features = new Set<string>();
  readonly ropes = new Set<RopeParameters>();
  #attention: Attention | undefined;
  #feedForward: FeedForward | undefined;
  #operations = 0;
  #products = 0;

  /**
   * @param has whether the model has a tensor that not all models have
   * @param vocabulary rows of the head
   */
  constructor(
    private readonly present: (tensor: string) => boolean,
    private readonly vocabulary: number,
  ) {}

  /** What was recorded since the last layer. */
  takeLayer(): Layer {
    const layer = {
      attention: this.#attention ?? noAttention,
      feedForward: this.#feedForward ?? { kind: 'dense' as const, size: 0 },
      operations: this.#operations,
      products: this.#products,
    };
    this.#attention = this.#feedForward = undefined;
    this.#operations = this.#products = 0;
    return layer;
  }

  has(tensor: string): boolean {
    return this.present(tensor);
  }

  rmsNorm(x: Features, _epsilon: number, weight?: string): Features {
    this.#op('rmsNorm');
    if (weight !== undefined) this.#numbers(weight, x.size);
    return x;
  }

  layerNorm(x: Features, _epsilon: number, name: string): Features {
    this.#op('layerNorm');
    this.#numbers(`${name}.weight`, x.size);
    this.#optional(`${name}.bias`, x.size);
    return x;
  }

  l2Norm(x: Features): Features {
    return this.#op('l2Norm', x);
  }

  linear(x: Features, name: string, outputs: number): Features {
    this.#product('linear');
    this.#matrix(`${name}.weight`, [x.size, outputs], 'matrix');
    if (this.#optional(`${name}.scale`, 1)) this.features.add('scales of weights');
    this.#optional(`${name}.bias`, outputs);
    // For activations that are quantized as NVFP4, which no engine here does.
    this.#optional(`${name}.input_scale`, 1);
    return { size: outputs };
  }

  headLinear(x: Features, name: string, outputs: number): Features {
    this.#product('headLinear');
    const heads = x.heads ?? 1;
    this.#matrix(`${name}.weight`, [x.size, outputs, heads], 'matrices of heads');
    return { size: outputs, heads };
  }

  logits(x: Features): Features {
    const shape = [x.size, this.vocabulary];
    this.#matrix(embeddingTensor, shape, 'matrix');
    if (this.present(headTensorName)) this.#matrix(headTensorName, shape, 'matrix');
    this.#optional(headBias, this.vocabulary);
    return { size: this.vocabulary };
  }

  splitHeads(x: Features, heads: number): Features {
    return this.#op('splitHeads', { size: x.size / heads, heads });
  }

  joinHeads(x: Features): Features {
    return this.#op('joinHeads', { size: x.size * (x.heads ?? 1) });
  }

  repeatHeads(x: Features, times: number): Features {
    return this.#op('repeatHeads', { size: x.size, heads: (x.heads ?? 1) * times });
  }

  slice(x: Features, _first: number, count: number): Features {
    return this.#op('slice', { ...x, size: count });
  }

  concat(a: Features, b: Features): Features {
    return this.#op('concat', { ...a, size: a.size + b.size });
  }

  rope(x: Features, rope: RopeParameters): Features {
    this.ropes.add(rope);
    const { factors, otherFactors, dimensions, factorCount = dimensions / 2 } = rope;
    for (const name of [factors, otherFactors])
      if (name !== undefined) this.#optional(name, factorCount);
    return this.#op('rope', x);
  }

  temper(x: Features): Features {
    // The factors of positions take as many ops as all that is made with them.
    this.#operations++;
    return this.#op('temper', x);
  }

  attention(
    _layer: number,
    q: Features,
    k: Features,
    v: Features,
    { scale, window, softcap, sinks }: AttentionOptions,
  ): Features {
    this.#op('attention');
    const heads = q.heads ?? 1;
    if (sinks !== undefined) this.#numbers(sinks, heads);
    this.#attention = {
      kind: 'gqa',
      heads,
      kvHeads: k.heads ?? 1,
      keySize: k.size,
      valueSize: v.size,
      scale,
      ...(window === undefined ? {} : { window }),
      ...(softcap === undefined ? {} : { softcap }),
      ...(sinks === undefined ? {} : { sinks }),
    };
    return { size: heads * v.size };
  }

  latentAttention(
    _layer: number,
    { heads = 1 }: Features,
    k: Features,
    latentSize: number,
    scale: number,
  ): Features {
    this.#op('latentAttention');
    const rotatedSize = k.size - latentSize;
    this.#attention = { kind: 'mla', heads, latentSize, rotatedSize, scale };
    return { size: heads * latentSize };
  }

  convolution(_layer: number, x: Features, name: string, width: number): Features {
    this.#op('convolution');
    this.#matrix(`${name}.weight`, [width, x.size], 'numbers');
    this.#linear({ convolved: x.size, width });
    return x;
  }

  deltaRule(_layer: number, _q: Features, _k: Features, v: Features): Features {
    const { heads = 1, size } = v;
    this.#linear({ heads, size });
    return this.#op('deltaRule', v);
  }

  gated(kind: GateKind, gate: Features): Features {
    this.#gatedFeedForward(gate);
    return this.#op(`gated by ${kind}`, gate);
  }

  gatedWithin(gate: Features): Features {
    this.#gatedFeedForward(gate);
    return this.#op('gatedWithin', gate);
  }

  gatedClamped(gate: Features): Features {
    return this.#op('gatedClamped', gate);
  }

  silu(x: Features): Features {
    return this.#op('silu', x);
  }

  sigmoid(x: Features): Features {
    return this.#op('sigmoid', x);
  }

  softplus(x: Features): Features {
    return this.#op('softplus', x);
  }

  times(x: Features, tensor: string): Features {
    this.#numbers(tensor, x.size);
    return this.#op('times', x);
  }

  plus(x: Features, tensor: string): Features {
    this.#numbers(tensor, x.size);
    return this.#op('plus', x);
  }

  add(a: Features): Features {
    return this.#op('add', a);
  }

  mul(a: Features): Features {
    return this.#op('mul', a);
  }

  scale(x: Features): Features {
    return this.#op('scale', x);
  }

  softcap(x: Features): Features {
    return this.#op('softcap', x);
  }

  route(_logits: Features, options: RoutingOptions): Routing<Features> {
    this.#op('route');
    // Choosing and weighting take many ops, and adding up two for every expert.
    this.#operations += 16 + options.chosen;
    const { experts, chosen, selectionBias } = options;
    if (selectionBias !== undefined) this.#numbers(selectionBias, experts);
    this.#feedForward = { kind: 'moe', experts, chosen, size: 0, sharedSize: 0 };
    const indices = { size: chosen };
    return { options, ids: indices, weights: indices };
  }

  expertLinear(
    x: Features,
    name: string,
    { options: { experts, chosen } }: Routing<Features>,
    outputs: number,
  ): Features {
    this.#product('expertLinear');
    this.#operations += 3;
    this.#matrix(`${name}.weight`, [x.size, outputs, experts], 'matrices of experts');
    this.#optional(`${name}.scale`, experts);
    if (this.present(`${name}.bias`)) this.#matrix(`${name}.bias`, [outputs, experts], 'numbers');
    const before = this.#feedForward;
    if (before?.kind === 'moe' && before.size === 0)
      this.#feedForward = { ...before, size: outputs };
    return { size: outputs, heads: chosen };
  }

  combine(x: Features): Features {
    return this.#op('combine', { size: x.size });
  }

  #gatedFeedForward({ size, heads }: Features): void {
    const before = this.#feedForward;
    if (before?.kind === 'moe' && heads === undefined)
      this.#feedForward = { ...before, sharedSize: size };
    else this.#feedForward ??= { kind: 'dense', size };
  }

  #op(name: string): void;
  #op(name: string, result: Features): Features;
  #op(name: string, result?: Features): Features | void {
    this.features.add(name);
    this.#operations++;
    return result;
  }

  #product(name: string): void {
    this.#op(name);
    this.#products++;
  }

  /** What is found of a layer that keeps a state. */
  #linear(found: Partial<LinearAttention>): void {
    const before = this.#attention?.kind === 'linear' ? this.#attention : noAttention;
    this.#attention = { ...before, ...found };
  }

  #matrix(name: string, shape: readonly number[], use: TensorUse): void {
    this.tensors.set(name, { name, shape, use });
  }

  #numbers(name: string, size: number): void {
    this.tensors.set(name, { name, shape: [size], use: 'numbers' });
  }

  /** @returns whether the model has it */
  #optional(name: string, size: number): boolean {
    const isThere = this.present(name);
    if (isThere) this.#numbers(name, size);
    return isThere;
  }
}

const noAttention: LinearAttention = { kind: 'linear', heads: 0, size: 0, convolved: 0, width: 1 };
