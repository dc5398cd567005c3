import { createHash } from 'node:crypto';
import { describeModel } from '../architectures/model.js';
import { familyOf } from '../architectures/registry.js';
import { ModelError } from '../errors.js';
import { tensorBytes, tensorTypeNamed, type TensorType } from '../gguf/tensor-types.js';
import { headTensorName } from '../shard-tensors.js';
import type { SyntheticShape } from './shape.js';
import { syntheticShape } from './shapes.js';
import type { MetadataValue, TensorInfo, TensorSource } from '../tensor-source.js';

/** Types that random weights can be made in. */
export const syntheticTypes: readonly string[] = ['f32', 'f16', 'q4_0', 'q8_0', 'mxfp4'];

/** Random values come from one block of about this size, which tensors repeat from different places. */
const patternBytes = 1 << 20;

/**
 * A model of random weights, made as they are read: for measuring speed without a download.
 * @param shape a shape's name, or sizes
 * @throws ModelError for an unknown shape or type
 */
export function syntheticModel(shape: string | SyntheticShape, typeName: string): TensorSource {
  const sizes = typeof shape === 'string' ? syntheticShape(shape) : shape;
  if (!syntheticTypes.includes(typeName))
    throw new ModelError(
      'unsupported',
      `no random weights of type "${typeName}": choose one of ${syntheticTypes.join(', ')}`,
    );
  return new SyntheticModel(sizes, tensorTypeNamed(typeName));
}

class SyntheticModel implements TensorSource {
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly fingerprint: string;
  readonly contentKey: string;
  readonly #patterns = new Map<string, Uint8Array>();

  constructor(
    private readonly shape: SyntheticShape,
    type: TensorType,
  ) {
    this.metadata = metadataOf(shape);
    this.tensors = new Map(
      tensorsOf(shape, this.metadata, type).map((tensor) => [tensor.name, tensor]),
    );
    this.fingerprint = createHash('sha256')
      .update(JSON.stringify([shape, type]))
      .digest('hex');
    this.contentKey = this.fingerprint;
  }

  read(name: string, offset: number, into: Uint8Array): Promise<void> {
    const tensor = this.tensors.get(name);
    if (!tensor || offset + into.byteLength > tensor.bytes)
      return Promise.reject(new ModelError('damaged', `no such bytes in tensor ${name}`));
    const pattern = this.#pattern(tensor);
    const shift = this.#shift(tensor, pattern);
    let done = 0;
    while (done < into.byteLength) {
      const at = (shift + offset + done) % pattern.byteLength;
      const part = pattern.subarray(at, at + into.byteLength - done);
      into.set(part, done);
      done += part.byteLength;
    }
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** Where in the pattern a tensor begins: at a block, so that blocks stay whole. */
  #shift({ name, type }: TensorInfo, pattern: Uint8Array): number {
    const digest = createHash('sha256')
      .update(`${this.shape.seed ?? 0} ${name}`)
      .digest();
    return (digest.readUInt32LE() % (pattern.byteLength / type.blockBytes)) * type.blockBytes;
  }

  #pattern({ name, type, shape }: TensorInfo): Uint8Array {
    const mean = meanOf(name);
    const isNumbers = shape.length === 1 || name.endsWith('.bias');
    const scale = isNumbers ? 0.05 : 1 / Math.sqrt(shape[0] ?? 1);
    const key = `${type.name} ${mean} ${scale}`;
    let pattern = this.#patterns.get(key);
    if (!pattern) {
      pattern = makePattern(type, mean, scale, this.shape.seed ?? 0);
      this.#patterns.set(key, pattern);
    }
    return pattern;
  }
}

/** Norms, scales, and factors of rotary embedding, keep what they scale, and states fade rather than grow. */
function meanOf(name: string): number {
  if (/norm\.weight$|\.scale$|^rope_/.test(name)) return 1;
  return name.endsWith('ssm_a') ? -0.1 : 0;
}

function metadataOf(shape: SyntheticShape): Map<string, MetadataValue> {
  const { architecture } = shape;
  return new Map<string, MetadataValue>([
    ['general.architecture', architecture],
    ['general.name', 'synthetic'],
    [`${architecture}.block_count`, shape.layers],
    [`${architecture}.context_length`, shape.contextLength ?? 32_768],
    [`${architecture}.embedding_length`, shape.hiddenSize],
    [`${architecture}.feed_forward_length`, shape.feedForward],
    [`${architecture}.attention.head_count`, shape.heads],
    [`${architecture}.attention.head_count_kv`, shape.kvHeads],
    [`${architecture}.attention.key_length`, shape.headSize],
    [`${architecture}.attention.value_length`, shape.headSize],
    [`${architecture}.rope.dimension_count`, shape.headSize],
    [`${architecture}.rope.freq_base`, shape.ropeBase ?? 10_000],
    [`${architecture}.attention.layer_norm_rms_epsilon`, 1e-6],
    [`${architecture}.vocab_size`, shape.vocabulary],
    ['tokenizer.ggml.model', 'none'],
    ...Object.entries(shape.numbers ?? {}).map(([name, value]): [string, MetadataValue] => [
      `${architecture}.${name}`,
      value,
    ]),
  ]);
}

function tensorsOf(
  { vocabulary, tied, optional }: SyntheticShape,
  metadata: ReadonlyMap<string, MetadataValue>,
  type: TensorType,
): TensorInfo[] {
  const { usually } = familyOf(metadata);
  const has = (name: string) =>
    name === headTensorName ? !tied : usually?.test(name) === true || optional?.test(name) === true;
  return [...describeModel(metadata, has, vocabulary).tensors.values()].map(
    ({ name, shape, use }) => {
      const isExact = use === 'numbers' || isRouter(name);
      const stored = isExact ? tensorTypeNamed('f32') : type;
      return { name, shape, type: stored, bytes: tensorBytes(stored, shape) };
    },
  );
}

/** What chooses experts is small and not quantized, as everybody stores it. */
function isRouter(name: string): boolean {
  return name.includes('.ffn_gate_inp');
}

/** Whole blocks of values around `mean`, spread evenly over ±√3 · `scale`: that has the deviation `scale`. */
function makePattern(type: TensorType, mean: number, scale: number, seed: number): Uint8Array {
  const blocks = Math.floor(patternBytes / type.blockBytes);
  const bytes = Buffer.alloc(blocks * type.blockBytes);
  const random = generator(seed);
  const reach = scale * Math.sqrt(3);
  for (let block = 0; block < blocks; block++) {
    const at = block * type.blockBytes;
    if (type.name === 'f32') bytes.writeFloatLE(mean + (2 * random() - 1) * reach, at);
    else if (type.name === 'f16') bytes.writeUInt16LE(halfBits((2 * random() - 1) * reach), at);
    else if (type.name === 'mxfp4') {
      // A power of two, and 4-bit values whose deviation is 2.9.
      bytes[at] = 127 + Math.round(Math.log2(scale / 2.9));
      for (let i = 1; i < type.blockBytes; i++) bytes[at + i] = Math.floor(random() * 256);
    } else {
      // q4_0 holds 4-bit values around 8, q8_0 signed bytes; both follow an f16 scale.
      bytes.writeUInt16LE(halfBits(reach / (type.name === 'q4_0' ? 8 : 127)), at);
      for (let i = 2; i < type.blockBytes; i++) bytes[at + i] = Math.floor(random() * 256);
    }
  }
  return bytes;
}

/** mulberry32: small, and the same everywhere. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Bits of a half for values of ordinary size; smaller ones become zero. */
function halfBits(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0] as number;
  const exponent = ((bits >>> 23) & 0xff) - 112;
  if (exponent <= 0) return (bits >>> 16) & 0x8000;
  return ((bits >>> 16) & 0x8000) | (exponent << 10) | ((bits >>> 13) & 0x3ff);
}
