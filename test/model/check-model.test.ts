import { describe, expect, test } from 'vitest';
import { checkModel } from '../../model/architectures/check-model.js';
import { ModelError } from '../../model/errors.js';
import { openGguf } from '../../model/gguf/reader.js';
import {
  canMultiply,
  tensorBytes,
  tensorTypeNamed,
  tensorTypes,
} from '../../model/gguf/tensor-types.js';
import { openDequantizer } from '../../model/native/dequantizer.js';
import { tensorsOfShard } from '../../model/shard-tensors.js';
import { syntheticModel } from '../../model/synthetic/synthetic-model.js';
import { syntheticShapes } from '../../model/synthetic/shapes.js';
import type { MetadataValue, TensorInfo, TensorSource } from '../../model/tensor-source.js';
import type { Shard } from '../../step/shard.js';
import { repositoryPath } from '../support/golden.js';
import { tinyModel, tinyShape, type Changes } from '../support/tiny-model.js';

type Source = Pick<TensorSource, 'metadata' | 'tensors'>;

function tensor(name: string, typeName: string, ...shape: number[]): [string, TensorInfo] {
  const type = tensorTypeNamed(typeName);
  return [name, { name, type, shape, bytes: tensorBytes(type, shape) }];
}

/** A shard as a worker gets it. */
function shardOf(source: Source, shard: Shard): Source {
  const tensors = tensorsOfShard(source.tensors, shard);
  return { metadata: source.metadata, tensors: new Map(tensors.map((t) => [t.name, t])) };
}

function refusal(source: Source, shard?: Shard): string {
  try {
    checkModel(source, shard);
  } catch (error) {
    expect(error).toBeInstanceOf(ModelError);
    expect((error as Error).message).toMatch(/^\P{Cc}{1,400}$/u);
    return `${(error as ModelError).code}: ${(error as Error).message}`;
  }
  return 'none';
}

describe('in order are', () => {
  test.each(['demo.gguf', 'demo-q4_0.gguf', 'demo-draft.gguf'])('%s', async (name) => {
    const source = await openGguf(repositoryPath(`models/${name}`));
    expect(checkModel(source).family).toBe('qwen3');
    await source.close();
  });

  test.each(Object.keys(syntheticShapes))('%s', (name) => {
    const { sizes, layers } = checkModel(syntheticModel(name, 'q4_0'));
    expect(layers).toHaveLength(sizes.layers);
  });

  test.each([true, false])('all shards, without the tensors of others, tied %s', (tied) => {
    const source = tinyModel('q8_0', {}, { tied });
    for (let firstLayer = 0; firstLayer < tinyShape.layers; firstLayer++)
      for (let endLayer = firstLayer + 1; endLayer <= tinyShape.layers; endLayer++) {
        const ends = { embedding: firstLayer === 0, head: endLayer === tinyShape.layers };
        const shard = { firstLayer, endLayer, ...ends };
        checkModel(shardOf(source, shard), shard);
        const lacking = shardOf(source, shard);
        for (const name of lacking.tensors.keys()) {
          // Without its own matrix a head uses the embedding's, where that is there.
          if (name === 'output.weight' && shard.embedding) continue;
          const rest = new Map([...lacking.tensors].filter(([other]) => other !== name));
          expect(refusal({ metadata: source.metadata, tensors: rest }, shard)).toMatch(
            /damaged: the model has no tensor/,
          );
        }
      }
  });

  test('rope factors of a llama, and nothing else that it need not have', () => {
    const factors = (size: number): Changes => ({
      tensors: [tensor('rope_freqs.weight', 'f32', size)],
    });
    checkModel(tinyModel('f16', factors(16), { architecture: 'llama' }));
    expect(refusal(tinyModel('f16', factors(8), { architecture: 'llama' }))).toMatch(
      /tensor rope_freqs.weight is 8, the model's sizes make it 16/,
    );
    expect(refusal(tinyModel('f16', factors(16), { architecture: 'qwen2' }))).toMatch(
      /"rope_freqs.weight" is not part of the qwen2 family/,
    );
  });
});

test('matrices can be of the types that ggml turns into numbers', () => {
  for (const type of tensorTypes.values()) {
    if (type.name === 'f32') continue;
    const decodes = () => openDequantizer(type);
    if (canMultiply(type)) expect(decodes, type.name).not.toThrow();
    else expect(decodes, type.name).toThrow(ModelError);
  }
});

describe('numbers out of range', () => {
  const wholeNumbers = [
    'block_count',
    'embedding_length',
    'feed_forward_length',
    'context_length',
    'attention.head_count',
    'attention.head_count_kv',
    'attention.key_length',
    'attention.value_length',
    'rope.dimension_count',
    'rope.scaling.original_context_length',
  ];
  const numbers = [
    ...wholeNumbers,
    'attention.layer_norm_rms_epsilon',
    'rope.freq_base',
    'rope.scaling.factor',
  ];
  const odd: MetadataValue[] = [0, -1, 1e18, NaN, Infinity, -Infinity, 2n ** 63n, '7', true, []];

  test.each(numbers)('%s', (name) => {
    const key = `qwen3.${name}`;
    const { metadata, tensors } = tinyModel('f32');
    const with_ = (value: MetadataValue): Source => ({
      metadata: new Map([...metadata, [key, value]]),
      tensors,
    });
    for (const value of odd)
      expect(refusal(with_(value)), String(value)).toMatch(
        `damaged: the model's metadata "${key}" is`,
      );
    if (wholeNumbers.includes(name)) expect(refusal(with_(2.5))).toMatch(`"${key}" is 2.5, not`);
  });

  test.each<[string, readonly (readonly [string, MetadataValue])[], RegExp]>([
    ['another architecture', [['general.architecture', 'a\nb']], /architecture "a\\nb"/],
    ['heads that cannot be shared', [['qwen3.attention.head_count_kv', 3]], /4 heads cannot share/],
    ['rotation beyond the head', [['qwen3.rope.dimension_count', 34]], /34 features of a head of/],
    ['an odd feature', [['qwen3.rope.dimension_count', 31]], /31 features of a head of 32/],
    [
      'values of another size',
      [['qwen3.attention.value_length', 16]],
      /tensor blk.0.attn_v.weight is 128 × 64/,
    ],
    ['a scaling of its own', [['qwen3.rope.scaling.type', 'dynamic']], /rope scaling "dynamic"/],
    ['heads of an absurd size', [['qwen3.attention.key_length', 1e6]], /"qwen3.*key_length" is/],
    ['keys of another family', [['general.architecture', 'llama']], /lacks "llama.block_count/],
  ])('%s', (_, metadata, message) => {
    expect(refusal(tinyModel('f32', { metadata }))).toMatch(message);
  });
});

describe('tensors that are not as they should be', () => {
  const { hiddenSize, feedForward, headSize } = tinyShape;
  const up = 'blk.1.ffn_up.weight';
  const [, sound] = tensor(up, 'q8_0', hiddenSize, feedForward);
  const with_ = (...tensors: [string, TensorInfo | undefined][]) => tinyModel('q8_0', { tensors });

  test.each<[string, readonly number[]]>([
    ['no size', []],
    ['one size too few', [hiddenSize]],
    ['one size too many', [hiddenSize, feedForward, 1]],
    ['a thousand sizes', Array.from({ length: 1000 }, () => 1)],
    ['rows of another size', [hiddenSize * 2, feedForward]],
    ['more rows', [hiddenSize, feedForward + 1]],
    ['no rows', [hiddenSize, 0]],
    ['negative sizes', [-hiddenSize, -feedForward]],
    ['no number', [NaN, feedForward]],
    ['no whole number', [hiddenSize, feedForward + 0.5]],
  ])('%s', (_, shape) => {
    expect(refusal(with_([up, { ...sound, shape }]))).toMatch(
      `damaged: tensor ${up} is ${shape.length === 0 ? 'one number' : shape[0]}`,
    );
  });

  test.each([0, -1, NaN, Infinity, 1e18, 1.5, sound.bytes - 1, sound.bytes + 34])(
    '%d bytes',
    (bytes) => {
      expect(refusal(with_([up, { ...sound, bytes }]))).toMatch(
        `damaged: tensor ${up} of 128 × 256 cannot be ${bytes} bytes of q8_0`,
      );
    },
  );

  test.each(['q8_1', 'q8_K', 'i8', 'i16', 'i32', 'i64', 'f64'])('matrices of %s', (type) => {
    const wide = { hiddenSize: 256, feedForward: 512 };
    const source = tinyModel('f32', { tensors: [tensor(up, type, 256, 512)] }, wide);
    expect(refusal(source)).toMatch(
      `unsupported: unsupported quantization: tensor ${up} is ${type}`,
    );
  });

  test('blocks that do not fit a row', () => {
    expect(refusal(with_(tensor(up, 'q4_K', hiddenSize, feedForward)))).toMatch(
      /tensor blk.1.ffn_up.weight of 128 × 256 cannot be \d+ bytes of q4_K/,
    );
  });

  test.each([
    'token_embd.weight',
    'output_norm.weight',
    'blk.0.attn_norm.weight',
    'blk.2.attn_q_norm.weight',
    'blk.2.ffn_norm.weight',
  ])('%s of any other size or type', (name) => {
    const { shape, type } = tinyModel('q8_0').tensors.get(name) as TensorInfo;
    const double = shape.map((size) => size * 2);
    expect(refusal(with_(tensor(name, type.name, ...double)))).toMatch(/damaged: /);
    const other = shape.length === 1 ? ['f16', 'bf16', 'q8_0', 'i32', 'f64'] : ['i32', 'f64'];
    for (const of of other)
      expect(refusal(with_(tensor(name, of, ...shape)))).toMatch(`tensor ${name} is ${of}`);
  });

  test('embedding and head of different vocabularies', () => {
    const source = with_(tensor('output.weight', 'q8_0', hiddenSize, 301));
    expect(refusal(source)).toMatch(/tensor output.weight is 128 × 301, .* make it 128 × 300/);
  });

  test.each([
    ['llama', 'blk.0.ffn_gate_inp.weight', [hiddenSize, 8]],
    ['llama', 'blk.0.ffn_up_exps.weight', [hiddenSize, feedForward, 8]],
    ['llama', 'blk.0.attn_q_norm.weight', [headSize]],
    ['qwen2', 'blk.0.attn_q_norm.weight', [headSize]],
    ['qwen3', 'blk.3.attn_norm.weight', [hiddenSize]],
  ] as const)('of %s: %s', (architecture, name, shape) => {
    const source = tinyModel('f32', { tensors: [tensor(name, 'f32', ...shape)] }, { architecture });
    expect(refusal(source)).toMatch(
      `unsupported model: tensor "${name}" is not part of the ${architecture} family`,
    );
  });

  test('of a name that would garble a terminal', () => {
    const source = with_(tensor('a\u001b[2J\u009b\u202e\nb', 'f32', 1));
    expect(refusal(source)).toContain('tensor "a\\u001b[2J\\u009b\\u202e\\nb" is not part');
    expect(refusal(with_(tensor('x'.repeat(1e6), 'f32', 1)))).toContain('xxx…" is not part');
  });
});

test.each([
  [0, 0],
  [1, 1],
  [2, 1],
  [-1, 2],
  [0, 4],
  [3, 4],
  [0.5, 2],
  [NaN, 2],
  [0, NaN],
  [0, Infinity],
])('layers %d to %d of 3 are no shard', (firstLayer, endLayer) => {
  const shard = { firstLayer, endLayer, embedding: true, head: true };
  expect(refusal(tinyModel('q8_0'), shard)).toMatch(
    /layers \S+ to \S+ are no part of a model of 3/,
  );
});
