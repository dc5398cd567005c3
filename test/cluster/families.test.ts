import { expect, test } from 'vitest';
import type { SyntheticShape } from '../../model/synthetic/shape.js';
import { syntheticShapes } from '../../model/synthetic/shapes.js';
import { syntheticModel } from '../../model/synthetic/synthetic-model.js';
import type { DraftSource } from '../../speculative/draft-source.js';
import type { Schedule } from '../../speculative/schedule.js';
import { greedy } from '../../step/sampling.js';
import { complete, openTestCluster } from '../support/cluster.js';
import { withFile } from '../support/family.js';
import { Random } from '../support/random.js';
import { tinyShape } from '../support/tiny-model.js';

const off: Schedule = { mode: 'off', sizes: [1], window: 1 };
const schedules: readonly Schedule[] = [
  { mode: 'sync', sizes: [5], window: 1 },
  { mode: 'pipelined', sizes: [1, 3], window: 3 },
  { mode: 'pipelined', sizes: [2], window: 8 },
];

/** One of every kind of layer. */
const shapes: readonly (Partial<SyntheticShape> & Pick<SyntheticShape, 'architecture'>)[] = [
  { architecture: 'gemma2', layers: 4, numbers: { 'attention.sliding_window': 32 } },
  { ...syntheticShapes['tiny-qwen35']!, layers: 4 },
  { ...syntheticShapes['tiny-gpt-oss']!, layers: 4 },
  { ...syntheticShapes['tiny-deepseek2']!, layers: 4 },
  syntheticShapes['tiny-mimo2']!,
  { ...syntheticShapes['tiny-lfm2']!, layers: 4 },
];

/** Knows how a text goes on, and is wrong now and then. */
function recording(text: readonly number[], random: Random): DraftSource {
  return {
    name: 'a recording',
    *draft({ length }, count) {
      for (const token of text.slice(length, length + count))
        yield random.share() < 0.7 ? token : random.between(0, tinyShape.vocabulary - 1);
    },
  };
}

test.each(shapes)(
  '$architecture: drafts and splits change no text over any codec',
  async (shape) => {
    const model = syntheticModel({ ...tinyShape, ...shape }, 'q8_0');
    const random = new Random(1);
    const prompt = Array.from({ length: 90 }, () => random.between(0, tinyShape.vocabulary - 1));
    const sampling = { ...greedy, temperature: 0.8, seed: 5 };
    await withFile(model, async (file) => {
      let alone: number[] | undefined;
      for (const codec of ['f32', 'f16', 'fp8'] as const) {
        let schedule = off;
        let text: readonly number[] = [];
        await using cluster = await openTestCluster({
          model: file,
          layers: codec === 'f32' ? [2, 1, 1] : [1, 3],
          codec,
          speculation: () =>
            Promise.resolve({
              choice: 'auto',
              drafts: () => ({
                name: 'a recording',
                draft: (...of) => recording(text, random).draft(...of),
              }),
              draftMs: 0.1,
              schedule: () => schedule,
            }),
        });
        const conversation = cluster.coordinator.conversation();
        const { tokens } = await complete(conversation, prompt, 40, sampling);
        text = [...prompt, ...tokens];
        for (schedule of schedules) {
          const speculative = await complete(conversation, prompt, 40, sampling);
          expect(speculative.tokens, `${codec}, ${schedule.mode}`).toEqual(tokens);
        }
        expect(cluster.coordinator.speculation?.stats.accepted).toBeGreaterThan(10);
        if (codec === 'f32') alone = tokens;
      }
      await using one = await openTestCluster({ model: file, layers: [4] });
      const { tokens } = await complete(one.coordinator.conversation(), prompt, 40, sampling);
      expect(tokens).toEqual(alone);
    });
  },
);
