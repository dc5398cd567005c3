import { expect, test } from 'vitest';
import { greedy, type Sampling } from '../../step/sampling.js';
import { Tokenizer } from '../../model/tokenizer.js';
import type { Schedule } from '../../speculative/schedule.js';
import { complete, openTestCluster } from '../support/cluster.js';
import { Divergences } from '../support/divergences.js';
import { openDraftModel, speculateWith } from '../support/drafts.js';
import { repositoryPath } from '../support/golden.js';

const sampling: Sampling = { ...greedy, temperature: 0.8, topP: 0.95, minP: 0.02 };
const schedules: Schedule[] = [
  { mode: 'sync', sizes: [5], window: 1 },
  { mode: 'pipelined', sizes: [1, 2, 4], window: 3 },
  { mode: 'pipelined', sizes: [8], window: 8 },
];

test.each([
  { engine: 'ggml', kvType: 'f16', count: 60 },
  { engine: 'onnx', kvType: 'f16', count: 20 },
] as const)(
  'a seed gives the same text for $count prompts with $engine',
  async ({ count, ...computing }) => {
    const prompts = storyPrompts(count);
    let schedule: Schedule | undefined;
    const drafts = await openDraftModel();
    const layers = [8, 8];
    await using cluster = await openTestCluster({
      ...computing,
      layers,
      speculation: speculateWith(drafts, () => schedule as Schedule),
    });
    const conversation = cluster.coordinator.conversation();
    await using divergences = await Divergences.open('demo.gguf', layers, computing);
    const texts = new Set<string>();
    for (const [i, prompt] of prompts.entries()) {
      const repetitionPenalty = i % 2 === 0 ? 1 : 1.1;
      const seeded = { ...sampling, seed: i, repetitionPenalty };
      const off = { speculate: false };
      const { tokens } = await complete(conversation, prompt, 80, seeded, undefined, off);
      texts.add(tokens.join(' '));
      for (schedule of schedules) {
        const speculative = await complete(conversation, prompt, 80, seeded);
        await divergences.compare(prompt, tokens, speculative.tokens, seeded);
      }
    }
    await drafts.close();
    divergences.check();
    expect(texts.size).toBeGreaterThan(0.95 * count);
  },
);

/** Questions that the demo model answers with different stories. */
function storyPrompts(count: number): number[][] {
  using tokenizer = Tokenizer.load(repositoryPath('models/demo.gguf'));
  const names = ['Mia', 'Leo', 'Ada', 'Tom', 'Eva', 'Max', 'Ivy', 'Sam'];
  const animals = ['fox', 'dog', 'cat', 'owl', 'bear'];
  const things = ['red kite', 'small boat', 'silver key', 'old bell', 'blue lantern'];
  return Array.from({ length: count }, (_, i) => {
    const name = names[i % 8] as string;
    const animal = animals[Math.floor(i / 8) % 5] as string;
    const thing = things[Math.floor(i / 40) % 5] as string;
    const text = `<|im_start|>user\nTell me a story about a ${animal} named ${name} and a ${thing}.<|im_end|>\n<|im_start|>assistant\n`;
    return [...tokenizer.encode(text, { parseSpecial: true, addSpecial: true })];
  });
}
