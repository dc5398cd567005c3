import type { GateKind, GraphBuilder } from '../../../model/architectures/graph-builder.js';
import { headBias } from '../../../model/shard-tensors.js';
import type { UniformSizes } from '../uniform-sizes.js';
import { EngineError } from '../../engine.js';
import { elementType } from '../runtime/api.js';
import { blockSize, type Matrix } from '../weights/layout.js';
import type { ShardWeights } from '../weights/shard-weights.js';
import type { AttentionForm } from './attention-form.js';
import { addAttention } from './attention.js';
import type { Graph } from './graph.js';
import { microsoft } from './model-proto.js';
import { addProduct, offsetsOf, scalesOf, valuesOf } from './product.js';
import { stepInput } from './input-names.js';

/** A tensor of a graph: [1, n, features], the heads one after the other. */
export interface Value {
  readonly name: string;
  /** 1 where it is not split into heads. */
  readonly heads: number;
}

/** Writes the op vocabulary as ONNX nodes. */
export class OnnxGraphBuilder implements GraphBuilder<Value> {
  /** Sums that no node computes yet: what normalises one computes it on the way. */
  readonly #sums = new Map<string, readonly [string, string]>();
  /** Sums of blocks of 32 features, by the tensor that they are of. */
  readonly #blockSums = new Map<string, string>();

  /** Products of joined matrices' members, by input and member. */
  readonly #parts = new Map<string, string>();

  constructor(
    private readonly graph: Graph,
    private readonly sizes: UniformSizes,
    private readonly weights: ShardWeights,
    private readonly form: AttentionForm,
    /** Name of the head's matrix, without its suffix. */
    private readonly headName: string,
  ) {}

  has(tensor: string): boolean {
    return this.weights.has(tensor);
  }

  rmsNorm(x: Value, epsilonValue: number, weight = ''): Value {
    const { graph, sizes } = this;
    const vector = this.#vector(weight);
    const epsilon = { float: epsilonValue };
    const normal = (name: string) =>
      graph.node('SimplifiedLayerNormalization', [name, vector], { axis: -1, epsilon });
    const sum = this.#sums.get(x.name);
    if (sum) {
      this.#sums.delete(x.name);
      const outputs = [graph.newName(), '', '', x.name] as const;
      const inputs = [...sum, vector];
      graph.nodeWithOutputs(
        'SkipSimplifiedLayerNormalization',
        inputs,
        outputs,
        { epsilon },
        microsoft,
      );
      return { name: outputs[0], heads: 1 };
    }
    if (x.heads === 1) return { name: normal(this.nameOf(x)), heads: 1 };
    const split = graph.node('Reshape', [x.name, graph.list([0, 0, x.heads, sizes.headSize])]);
    const joined = graph.list([0, 0, x.heads * sizes.headSize]);
    return { name: graph.node('Reshape', [normal(split), joined]), heads: x.heads };
  }

  linear(x: Value, name: string): Value {
    return this.#biased(x, `${name}.weight`, `${name}.bias`);
  }

  logits(x: Value): Value {
    return this.#biased(x, `${this.headName}.weight`, headBias);
  }

  splitHeads(x: Value, heads: number): Value {
    return { name: x.name, heads };
  }

  slice(x: Value, first: number, count: number): Value {
    const { graph } = this;
    const bounds = [first, first + count, 2].map((bound) => graph.list([bound]));
    return { name: graph.node('Slice', [this.nameOf(x), ...bounds]), heads: 1 };
  }

  scale(x: Value, factor: number): Value {
    const { graph } = this;
    const value = graph.constant(`factor ${factor}`, elementType.f32, [], Float32Array.of(factor));
    return { name: graph.node('Mul', [this.nameOf(x), value]), heads: x.heads };
  }

  rope(x: Value): Value {
    const { rope, headSize } = this.sizes;
    const rotated = this.graph.node(
      'RotaryEmbedding',
      [x.name, stepInput.rotations, stepInput.cosines, stepInput.sines],
      {
        interleaved: rope.pairing === 'neighbours' ? 1 : 0,
        num_heads: x.heads,
        ...(rope.dimensions === headSize ? {} : { rotary_embedding_dim: rope.dimensions }),
      },
      microsoft,
    );
    return { name: rotated, heads: x.heads };
  }

  attention(layer: number, q: Value, k: Value, v: Value): Value {
    const rows = { queries: q.name, keys: k.name, values: v.name };
    return { name: addAttention(this.graph, this.sizes, this.form, layer, rows), heads: 1 };
  }

  gated(_kind: GateKind, gate: Value, up: Value): Value {
    const { graph } = this;
    const silu = graph.node('Mul', [gate.name, graph.node('Sigmoid', [gate.name])]);
    return { name: graph.node('Mul', [silu, up.name]), heads: 1 };
  }

  add(a: Value, b: Value): Value {
    const name = this.graph.newName();
    this.#sums.set(name, [this.nameOf(a), this.nameOf(b)]);
    return { name, heads: 1 };
  }

  readonly layerNorm = notWritten;
  readonly l2Norm = notWritten;
  readonly headLinear = notWritten;
  readonly temper = notWritten;
  readonly joinHeads = notWritten;
  readonly latentAttention = notWritten;
  readonly repeatHeads = notWritten;
  readonly convolution = notWritten;
  readonly deltaRule = notWritten;
  readonly softplus = notWritten;
  readonly times = notWritten;
  readonly plus = notWritten;
  readonly concat = notWritten;
  readonly gatedWithin = notWritten;
  readonly gatedClamped = notWritten;
  readonly silu = notWritten;
  readonly sigmoid = notWritten;
  readonly mul = notWritten;
  readonly softcap = notWritten;
  readonly route = notWritten;
  readonly expertLinear = notWritten;
  readonly combine = notWritten;

  /** The name of a value that a node is to take, computed if it was not. */
  nameOf({ name }: Value): string {
    const sum = this.#sums.get(name);
    if (sum) {
      this.#sums.delete(name);
      this.graph.nodeWithOutputs('Add', sum, [name]);
    }
    return name;
  }

  #vector(name: string): string {
    const values = this.weights.vector(name);
    return this.graph.constant(name, elementType.f32, [values.length], values);
  }

  #biased(x: Value, matrix: string, bias: string): Value {
    const product = this.#product(this.nameOf(x), matrix);
    if (!this.has(bias)) return { name: product, heads: 1 };
    return { name: this.graph.node('Add', [product, this.#vector(bias)]), heads: 1 };
  }

  /** A joined matrix multiplies once; its members' products are parts of what comes of it. */
  #product(x: string, name: string): string {
    const { graph } = this;
    const { matrix, members } = this.weights.factor(name);
    if (members.length === 1) return this.#multiply(x, matrix);
    const key = (member: string) => `${x} ${member}`;
    if (!this.#parts.has(key(name))) {
      const sizes = graph.list(members.map(({ shape }) => shape[1] ?? 1));
      const outputs = members.map(() => graph.newName());
      graph.nodeWithOutputs('Split', [this.#multiply(x, matrix), sizes], outputs, { axis: -1 });
      members.forEach((member, i) => this.#parts.set(key(member.name), outputs[i] as string));
    }
    return this.#parts.get(key(name)) as string;
  }

  #multiply(x: string, matrix: Matrix): string {
    const { graph } = this;
    const product = addProduct(graph, x, matrix, valuesOf(matrix), scalesOf(matrix));
    if (!matrix.format.hasOffsets) return product;
    // Σ (scale · q + offset) · x over a block is scale · Σ q · x + offset · Σ x.
    const offsets = graph.add(offsetsOf(matrix));
    const transposed = graph.node('Transpose', [offsets], { perm: [1, 0] });
    const rest = graph.node('MatMul', [
      this.#sumBlocks(x, matrix.inputSize / blockSize),
      transposed,
    ]);
    return graph.node('Add', [product, rest]);
  }

  #sumBlocks(x: string, blocks: number): string {
    const { graph } = this;
    let sums = this.#blockSums.get(x);
    if (sums === undefined) {
      const split = graph.node('Reshape', [x, graph.list([0, 0, blocks, blockSize])]);
      // Counted from the end, the axis is mistaken where there are no rows.
      sums = graph.node('ReduceSum', [split, graph.list([3])], { keepdims: 0 });
      this.#blockSums.set(x, sums);
    }
    return sums;
  }
}

/** `uniformSizes` refuses models that need it. */
function notWritten(): never {
  throw new EngineError('internal', 'this op is not written for ONNX Runtime');
}
