import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { textStep } from '../../../bench/text-step.js';
import { EngineError, type Stage, type StageOptions } from '../../../engine/engine.js';
import { tensorTypeNamed } from '../../../model/gguf/tensor-types.js';
import { ModelError } from '../../../model/errors.js';
import type { TensorInfo, TensorSource } from '../../../model/tensor-source.js';
import type { Segment, Step } from '../../../step/step.js';
import { openTestEngine } from '../../support/engines.js';
import { tinyModel } from '../../support/tiny-model.js';

const engine = openTestEngine('onnx');
const none = new Float32Array(0);
const text = [5, 6, 7, 8];
const step = textStep(text, { cells: { start: 0, length: 64 }, choices: 'last' });
const shard = { firstLayer: 0, endLayer: 3, embedding: true, head: true };
const sizes = { shard, cells: 64, kvType: 'f16', maxStepRows: 8 } as const;

function load(source: TensorSource, change: Partial<StageOptions> = {}): Promise<Stage> {
  return engine.load({ source, ...sizes, ...change });
}

/** The step with changes to its segment. */
function changed(change: Partial<Segment>): Step {
  return { ...step, segments: step.segments.map((segment) => ({ ...segment, ...change })) };
}

/** The same text in a step of two segments, of which one sees nothing but itself. */
function crowd(): Step {
  const second = textStep(text, { cells: { start: 32, length: 32 } }).segments;
  return {
    ...step,
    segments: [...step.segments, ...second.map((segment) => ({ ...segment, sequence: 2 }))],
  };
}

/** Steps that every graph is needed for. */
function everyStep(): Step[] {
  const visible = (step.segments[0] as Segment).visible;
  const ranges = Int32Array.of(0, 1, 0, 1, 0, 1, 0, 4);
  return [step, crowd(), changed({ visible: { ...visible, ranges } })];
}

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Resident memory when what nobody needs is collected. */
function residentBytes(): number {
  for (let i = 0; i < 3; i++) collect();
  return process.memoryUsage.rss();
}

test.each([
  { conversations: 1, loads: 300 },
  { conversations: 2, loads: 80 },
])(
  '$loads loads for $conversations conversations leave nothing behind',
  async ({ conversations, loads }) => {
    const source = tinyModel('q4_0');
    const use = async (times: number) => {
      for (let i = 0; i < times; i++) {
        const stage = await load(source, { conversations });
        for (const every of everyStep()) await stage.logits(every, none);
        stage.dispose();
      }
    };
    // Allocators keep some memory for next time.
    await use(loads / 2);
    const before = residentBytes();
    await use(loads);
    const perLoad = (residentBytes() - before) / loads;
    console.log(`${perLoad.toFixed(0)} bytes per load`);
    // The weights alone have 250 kB.
    expect(perLoad).toBeLessThan(120_000);
  },
  240_000,
);

describe('a stage', () => {
  const source = tinyModel('q8_0');

  test('is freed when the step that it computes is done', async () => {
    const stage = await load(source);
    const expected = await stage.forward(step, none, none);
    const running = stage.forward(step, none, none);
    stage.dispose();
    stage.dispose();
    await expect(stage.forward(step, none, none)).rejects.toMatchObject({ code: 'internal' });
    expect(await running).toEqual(expected);
  });

  test('refuses everything once it is closed', async () => {
    const stage = await load(source);
    stage.dispose();
    const closed = { name: 'EngineError', code: 'internal' };
    await expect(stage.forward(step, none, none)).rejects.toMatchObject(closed);
    await expect(stage.logits(step, none)).rejects.toMatchObject(closed);
    stage.abort?.();
    stage.dispose();
  });

  test('computes one step at a time', async () => {
    const stage = await load(source);
    const running = stage.forward(step, none, none);
    await expect(stage.forward(step, none, none)).rejects.toMatchObject({ code: 'internal' });
    await running;
    stage.dispose();
  });

  test('gives up a step that is not computed yet, and no later one', async () => {
    const stage = await load(source, { conversations: 2 });
    stage.abort?.();
    for (const every of everyStep()) {
      const expected = await stage.forward(every, none, none);
      const useless = stage.forward(every, none, none);
      stage.abort?.();
      await expect(useless).rejects.toMatchObject({ code: 'compute', message: /given up/ });
      stage.abort?.();
      expect(await stage.forward(every, none, none)).toEqual(expected);
    }
    stage.dispose();
  });
});

describe('loading', () => {
  const source = tinyModel('q8_0', { metadata: [['a', 'model of its own']] });

  test('ends with the reason of its signal, wherever it is', async () => {
    const reason = new Error('nobody waits for it');
    await expect(load(source, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    // Ever more turns of the event loop later, until loading is quicker.
    for (let turns = 0, isDone = false; !isDone; turns = 2 * turns + 1) {
      const giveUp = new AbortController();
      const loading = load(source, { signal: giveUp.signal, conversations: 2 });
      loading.catch(() => undefined);
      for (let turn = 0; turn < turns; turn++) await setImmediate();
      giveUp.abort(reason);
      const ended = await loading.catch((error: unknown) => error);
      isDone = ended !== reason;
      if (isDone) {
        expect(ended).toMatchObject({ shard });
        (ended as Stage).dispose();
      }
    }
  });
});

describe('a bad model gives a typed error', () => {
  const f32 = tensorTypeNamed('f32');
  const plain = tinyModel('f32');
  const reshaped = (name: string, ...shape: number[]): [string, TensorInfo] => [
    name,
    { name, type: f32, shape, bytes: shape.reduce((product, size) => product * size, 4) },
  ];
  /** Zeroes for whatever has another shape. */
  const read = ({ bytes }: TensorInfo) => new Uint8Array(bytes);

  const models: Record<string, TensorSource> = {
    'without a matrix': tinyModel('f32', { tensors: [['blk.1.attn_k.weight', undefined]] }),
    'without a norm': tinyModel('f32', { tensors: [['blk.2.ffn_norm.weight', undefined]] }),
    'without the embedding': tinyModel('f32', { tensors: [['token_embd.weight', undefined]] }),
    'with a matrix that takes more': tinyModel('f32', {
      tensors: [reshaped('blk.0.ffn_up.weight', 160, 256)],
      read,
    }),
    'with a matrix that gives less': tinyModel('f32', {
      tensors: [reshaped('blk.0.attn_v.weight', 128, 32)],
      read,
    }),
    'with keys of another size': tinyModel('f32', {
      tensors: [reshaped('blk.0.attn_k.weight', 128, 96)],
      read,
    }),
    'with a norm that is too short': tinyModel('f32', {
      tensors: [reshaped('blk.1.attn_norm.weight', 64)],
      read,
    }),
    'with a norm of heads that is too long': tinyModel('f32', {
      tensors: [reshaped('blk.1.attn_q_norm.weight', 128)],
      read,
    }),
    'with an embedding of another width': tinyModel('f32', {
      tensors: [reshaped('token_embd.weight', 64, 300)],
      read,
    }),
    'with heads that do not fit': tinyModel('f32', {
      metadata: [['qwen3.attention.head_count', 8]],
    }),
    'whose data cannot be read': {
      ...plain,
      contentKey: 'unreadable',
      read: () => Promise.reject(new ModelError('damaged', 'the file ends within tensor')),
    },
  };

  test.each(Object.entries(models))('%s', async (_, source) => {
    const attempt = async () => {
      const stage = await load(source);
      try {
        await stage.forward(step, none, none);
      } finally {
        stage.dispose();
      }
    };
    const error: unknown = await attempt().catch((reason: unknown) => reason);
    expect(error instanceof EngineError || error instanceof ModelError, String(error)).toBe(true);
    expect((error as Error).message).not.toContain('\n');
  });
});

test('a step that makes no sense is refused, and does no harm', async () => {
  const stage = await load(tinyModel('q8_0'));
  const expected = await stage.forward(step, none, none);
  await expect(
    stage.forward(changed({ cells: Int32Array.of(60, 61, 62, 64) }), none, none),
  ).rejects.toMatchObject({ name: 'EngineError', code: 'step' });
  await expect(
    stage.forward(changed({ tokens: Int32Array.of(5, 6, 7, 300) }), none, none),
  ).rejects.toThrow(/token ids beyond 300/);
  expect(await stage.forward(step, none, none)).toEqual(expected);
  stage.dispose();
});
