import { expect, test } from 'vitest';
import { joinedSource, joinMatrices } from '../../../engine/onnx/weights/joined-matrices.js';
import { tensorBytes, tensorTypeNamed } from '../../../model/gguf/tensor-types.js';
import type { TensorInfo, TensorSource } from '../../../model/tensor-source.js';
import { openTestEngine } from '../../support/engines.js';
import { wholeModelLogits } from '../../support/logits.js';
import { Random } from '../../support/random.js';
import { relativeError } from '../../support/relative-error.js';
import { tinyModel } from '../../support/tiny-model.js';

function matrix(name: string, outputs: number, typeName = 'q4_0', inputs = 64): TensorInfo {
  const type = tensorTypeNamed(typeName);
  const shape = [inputs, outputs];
  return { name: `blk.${name}.weight`, type, shape, bytes: tensorBytes(type, shape) };
}

test('matrices of one input and type are joined, layer by layer', () => {
  const tensors = [
    matrix('0.attn_k', 32),
    matrix('0.attn_output', 64),
    matrix('0.attn_q', 96),
    matrix('0.attn_v', 32),
    matrix('0.ffn_gate', 128),
    matrix('0.ffn_up', 128),
    matrix('1.attn_q', 96),
    matrix('1.attn_k', 32),
    matrix('1.attn_v', 32, 'q8_0'),
    matrix('1.ffn_gate', 128),
    matrix('1.ffn_up', 128, 'q4_0', 32),
    matrix('10.ffn_up', 128),
  ];
  const joined = joinMatrices(tensors);
  expect(joined.map(({ members }) => members.map(({ name }) => name.slice(4, -7)))).toEqual([
    ['0.attn_output'],
    ['0.attn_q', '0.attn_k', '0.attn_v'],
    ['0.ffn_gate', '0.ffn_up'],
    ['1.attn_q'],
    ['1.attn_k'],
    ['1.attn_v'],
    ['1.ffn_gate'],
    ['1.ffn_up'],
    ['10.ffn_up'],
  ]);
  const [, attention] = joined;
  expect(attention?.tensor).toMatchObject({ shape: [64, 160], bytes: (160 * 64 * 18) / 32 });
});

test('any part of joined matrices is read from those that it lies in', async () => {
  const members = [matrix('0.attn_q', 3), matrix('0.attn_k', 1), matrix('0.attn_v', 2)];
  const whole = Uint8Array.from({ length: 6 * 36 }, (_, i) => i);
  const source: TensorSource = {
    metadata: new Map(),
    tensors: new Map(members.map((member) => [member.name, member])),
    fingerprint: '',
    contentKey: '',
    read: (name, offset, into) => {
      const begin = { q: 0, k: 3 * 36, v: 4 * 36 }[name.charAt(11)] ?? NaN;
      into.set(whole.subarray(begin + offset, begin + offset + into.length));
      return Promise.resolve();
    },
    close: () => Promise.resolve(),
  };
  const [joined] = joinMatrices(members);
  if (!joined) throw new Error('nothing was joined');
  const from = joinedSource(source, [joined]);
  for (const [offset, length] of [
    [0, 216],
    [0, 36],
    [100, 8],
    [107, 38],
    [108, 36],
    [143, 73],
    [215, 1],
  ] as const) {
    const read = new Uint8Array(length);
    await from.read(joined.tensor.name, offset, read);
    expect(read).toEqual(whole.slice(offset, offset + length));
  }
});

test('a layer whose matrices are of two types is computed as ggml does', async () => {
  const others = [matrix('1.attn_k', 64, 'f32', 128), matrix('2.ffn_up', 256, 'f32', 128)];
  const source = tinyModel('q8_0', {
    tensors: others.map((tensor) => [tensor.name, tensor]),
    read: ({ bytes }) => {
      const random = new Random(bytes);
      const values = Float32Array.from({ length: bytes / 4 }, () => (random.share() - 0.5) / 4);
      return new Uint8Array(values.buffer);
    },
  });
  const text = Array.from({ length: 40 }, (_, i) => (i * 53 + 7) % 300);
  const ours = await wholeModelLogits(openTestEngine('onnx'), source, text);
  const theirs = await wholeModelLogits(openTestEngine('ggml'), source, text);
  // Activations of 8 bits round differently in the two; a wrong matrix would be far off.
  expect(relativeError(ours, theirs)).toBeLessThan(0.05);
});
