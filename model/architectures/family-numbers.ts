import { ModelError } from '../errors.js';
import {
  isWithin,
  metadataNumberWithin,
  metadataStringOr,
  whole,
  type NumberRange,
} from '../gguf/metadata.js';
import type { MetadataValue } from '../tensor-source.js';

const int32 = 2 ** 31 - 1;
const factor = { from: -1e6, to: 1e6 };

/** What every number may be, after the family's name in its key. Native code takes these to be in order. */
const ranges = {
  block_count: whole(1, 1024),
  nextn_predict_layers: whole(0, 64),
  embedding_length: whole(1, 2 ** 20),
  feed_forward_length: whole(1, 2 ** 24),
  context_length: whole(1, int32),
  'attention.head_count': whole(1, 4096),
  'attention.head_count_kv': whole(1, 4096),
  'attention.key_length': whole(1, 4096),
  'attention.value_length': whole(1, 4096),
  'attention.layer_norm_rms_epsilon': { from: 1e-20, to: 1 },
  'attention.layer_norm_epsilon': { from: 1e-20, to: 1 },
  'attention.key_length_swa': whole(1, 4096),
  'attention.value_length_swa': whole(1, 4096),
  'attention.scale': factor,
  'attention.value_scale': factor,
  'attention.sliding_window': whole(0, int32),
  'attention.sliding_window_pattern': whole(0, 1024),
  'attention.temperature_scale': factor,
  'attention.temperature_length': whole(1, int32),
  'attention.q_lora_rank': whole(0, 2 ** 20),
  'attention.kv_lora_rank': whole(1, 2 ** 20),
  'attention.key_length_mla': whole(1, 4096),
  'attention.value_length_mla': whole(1, 4096),
  'rope.dimension_count': whole(2, 4096),
  'rope.dimension_count_swa': whole(2, 4096),
  'rope.dimension_sections': whole(0, 4096),
  'rope.freq_base': { from: 1, to: 1e12 },
  'rope.freq_base_swa': { from: 1, to: 1e12 },
  'rope.scaling.factor': { from: 1e-3, to: 1e6 },
  'rope.scale_linear': { from: 1e-3, to: 1e6 },
  'rope.scaling.attn_factor': { from: 1e-3, to: 1e3 },
  'rope.scaling.original_context_length': whole(1, int32),
  'rope.scaling.yarn_log_multiplier': factor,
  'rope.scaling.yarn_beta_fast': { from: 1e-3, to: 1e6 },
  'rope.scaling.yarn_beta_slow': { from: 1e-3, to: 1e6 },
  attn_logit_softcapping: { from: 0, to: 1e6 },
  final_logit_softcapping: { from: 0, to: 1e6 },
  swiglu_clamp_exp: { from: 0, to: 1e6 },
  swiglu_clamp_shexp: { from: 0, to: 1e6 },
  logit_scale: factor,
  residual_scale: factor,
  embedding_scale: factor,
  expert_count: whole(0, 4096),
  expert_used_count: whole(0, 4096),
  expert_feed_forward_length: whole(1, 2 ** 24),
  expert_shared_feed_forward_length: whole(0, 2 ** 24),
  expert_shared_count: whole(0, 1024),
  expert_group_count: whole(0, 4096),
  expert_group_used_count: whole(0, 4096),
  expert_gating_func: whole(0, 3),
  expert_weights_scale: factor,
  leading_dense_block_count: whole(0, 1024),
  interleave_moe_layer_step: whole(1, 1024),
  'ssm.conv_kernel': whole(2, 64),
  'ssm.inner_size': whole(1, 2 ** 24),
  'ssm.state_size': whole(1, 2 ** 16),
  'ssm.time_step_rank': whole(1, 2 ** 16),
  'ssm.group_count': whole(1, 2 ** 16),
  'shortconv.l_cache': whole(2, 64),
  full_attention_interval: whole(1, 1024),
} as const satisfies Record<string, NumberRange>;

/** What models of any family may have, and what it is where they have not. */
const decisive: readonly (readonly [string, MetadataValue])[] = [
  ['attention.causal', true],
  ['expert_count', 0],
  ['rope.scaling.yarn_beta_fast', 32],
  ['rope.scaling.yarn_beta_slow', 1],
];

export type NumberName = keyof typeof ranges;

/** The numbers of a family in a file's metadata. Whoever reads them takes them to be in order. */
export class FamilyNumbers {
  readonly #read = new Set<string>();

  /**
   * @param metadata of the file
   * @param family that keys begin with
   */
  constructor(
    private readonly metadata: ReadonlyMap<string, MetadataValue>,
    readonly family: string,
  ) {}

  has(name: string): boolean {
    return this.metadata.has(this.#key(name));
  }

  /** One number for the whole model. @throws ModelError when it is missing without a fallback, or out of its range */
  of(name: NumberName, fallback?: number): number {
    return metadataNumberWithin(this.metadata, this.#key(name), ranges[name], fallback);
  }

  /** A number of every layer, in files that may have one for all. @throws ModelError as `of` does */
  ofLayers(name: NumberName, layers: number, fallback?: number): readonly number[] {
    return this.#ofLayers(name, layers, ranges[name], fallback);
  }

  /** The same where some layers have none of it, which is 0. @throws ModelError */
  ofSomeLayers(name: NumberName, layers: number): readonly number[] {
    return this.#ofLayers(name, layers, { ...ranges[name], from: 0 });
  }

  #ofLayers(
    name: NumberName,
    layers: number,
    range: NumberRange,
    fallback?: number,
  ): readonly number[] {
    const key = this.#key(name);
    const value = this.metadata.get(key);
    if (!Array.isArray(value)) return Array.from({ length: layers }, () => this.of(name, fallback));
    const isSound = (item: unknown): item is number =>
      typeof item === 'number' && isWithin(item, range);
    if (value.length < layers || !value.every(isSound))
      throw new ModelError(
        'damaged',
        `the model's metadata "${key}" is not one number from ${range.from} to ${range.to} for each of ${layers} layers: the file is damaged`,
      );
    return value.slice(0, layers);
  }

  /** @throws ModelError when it is no string */
  text(name: string, fallback: string): string {
    return metadataStringOr(this.metadata, this.#key(name), fallback);
  }

  /** @throws ModelError when it is neither true nor false */
  flag(name: string, fallback: boolean): boolean {
    const key = this.#key(name);
    const value = this.metadata.get(key) ?? fallback;
    if (typeof value === 'boolean') return value;
    throw new ModelError(
      'damaged',
      `the model's metadata "${key}" is not true or false: the file is damaged`,
    );
  }

  /** Whether something is so in layers, in files that list it for all of them, or 1 for what is so. @throws ModelError */
  flags(name: string): readonly boolean[] | undefined {
    const key = this.#key(name);
    const value = this.metadata.get(key);
    if (!Array.isArray(value)) return undefined;
    const flags = [false, true, 0, 1];
    if (value.every((item) => flags.includes(item as boolean))) return value.map(Boolean);
    throw new ModelError(
      'damaged',
      `the model's metadata "${key}" is not true or false for each layer: the file is damaged`,
    );
  }

  /**
   * What changes the maths of any family is honoured or refused: call this when all that a family knows has been read.
   * @throws ModelError 'unsupported' that names the key
   */
  refuseUnread(): void {
    for (const [name, usual] of decisive) {
      const value = this.metadata.get(`${this.family}.${name}`) ?? usual;
      if (!this.#read.has(name) && value !== usual)
        throw this.unsupported(name, `is ${String(value)}, which this family does not have`);
    }
  }

  /** Takes note of what files of a family may say, and llama.cpp does not go by. */
  leave(...names: readonly NumberName[]): void {
    for (const name of names) this.#read.add(name);
  }

  atOdds(what: string): ModelError {
    return new ModelError(
      'damaged',
      `the model's sizes make no sense: ${what}: the file is damaged`,
    );
  }

  /** A variant of the family that is not computed here. */
  unsupported(name: string, what: string): ModelError {
    return new ModelError(
      'unsupported',
      `unsupported model: "${this.family}.${name}" ${what}: use another model`,
    );
  }

  #key(name: string): string {
    this.#read.add(name);
    return `${this.family}.${name}`;
  }
}
