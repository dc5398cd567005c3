import { describe, expect, test } from 'vitest';
import type { Conversation } from '../../coord/conversation.js';
import type { Coordinator } from '../../coord/coordinator.js';
import { tinyHybrid } from '../../model/synthetic/hybrid-shapes.js';
import { syntheticModel } from '../../model/synthetic/synthetic-model.js';
import type { DraftSource } from '../../speculative/draft-source.js';
import { greedy, type Sampling } from '../../step/sampling.js';
import { complete, openTestCluster, type TestClusterOptions } from '../support/cluster.js';
import { withFile } from '../support/family.js';
import { Random } from '../support/random.js';
import { tinyShape } from '../support/tiny-model.js';

const size = 16;
const mostTokens = 24;

/** One of the crowd: what it asks, and what it is told when it is alone. */
interface Member {
  readonly prompt: readonly number[];
  readonly sampling: Sampling;
  readonly count: number;
  alone: readonly number[];
}

/** Short prompts and such as have several tiles, some greedy, some with seeds of their own. */
function crowd(random: Random, vocabulary: number): Member[] {
  return Array.from({ length: size }, (_, i) => ({
    prompt: Array.from({ length: random.between(1, i % 3 === 0 ? 300 : 30) }, () =>
      random.between(0, vocabulary - 1),
    ),
    sampling: i % 2 === 0 ? greedy : { ...greedy, temperature: 0.9, seed: 100 + i },
    count: random.between(mostTokens / 2, mostTokens),
    alone: [],
  }));
}

async function askAlone(coordinator: Coordinator, members: readonly Member[]): Promise<void> {
  const conversation = coordinator.conversation();
  for (const member of members) {
    conversation.reset();
    const { prompt, count, sampling } = member;
    const off = { speculate: false };
    ({ tokens: member.alone } = await complete(
      conversation,
      prompt,
      count,
      sampling,
      undefined,
      off,
    ));
  }
  conversation.close();
  expect(new Set(members.map(({ alone }) => alone.join())).size).toBe(members.length);
}

/** Comes at some time, is interrupted now and then and asks again, with what was computed or anew. */
async function join(conversation: Conversation, member: Member, random: Random): Promise<void> {
  const { prompt, sampling, count, alone } = member;
  for (let turns = random.between(0, 200); turns > 0; turns--)
    await new Promise((resolve) => setImmediate(resolve));
  for (let interruptions = random.between(0, 2); interruptions > 0; interruptions--) {
    const stop = new AbortController();
    const answer = conversation.generate(Int32Array.from(prompt), {
      sampling,
      maxTokens: count,
      isEnd: () => false,
      signal: stop.signal,
    });
    const read: number[] = [];
    const enough = random.between(0, count - 1);
    const isLeaving = random.share() < 0.5;
    if (enough === 0) setImmediate(() => stop.abort());
    for await (const token of answer) {
      read.push(token);
      if (read.length < enough) continue;
      if (isLeaving) break;
      stop.abort();
    }
    expect(read).toEqual(alone.slice(0, read.length));
    if (random.share() < 0.5) conversation.reset();
  }
  const { tokens } = await complete(conversation, prompt, count, sampling, undefined, {
    priority: random.between(-1, 1),
    client: `client ${random.between(0, 3)}`,
  });
  expect(tokens).toEqual(alone);
}

async function answerAll(coordinator: Coordinator, members: readonly Member[], random: Random) {
  await coordinator.stats({ reset: true });
  const conversations = members.map(() => coordinator.conversation());
  await Promise.all(
    members.map((member, i) => join(conversations[i] as Conversation, member, random)),
  );
  for (const conversation of conversations) conversation.close();
}

/** Whatever it is asked in the crowd, everybody is told what they are told alone. */
async function expectSameTexts(options: TestClusterOptions, vocabulary: number): Promise<void> {
  await using cluster = await openTestCluster({ ...options, conversations: size });
  const { coordinator } = cluster;
  const random = new Random(options.layers.length);
  const members = crowd(random, vocabulary);
  await askAlone(coordinator, members);
  expect(coordinator.batching.rowsPerStep).toBe(1);
  await answerAll(coordinator, members, random);
  const { rowsPerStep, steps } = coordinator.batching;
  expect(rowsPerStep).toBeGreaterThan(1);
  expect(steps.text.steps).toBeGreaterThan(size);
}

const demoVocabulary = 1000;

describe('a crowd of sixteen gets the texts that each gets alone', () => {
  test.each([
    { engine: 'ggml', layers: [16], codec: 'f32' },
    { engine: 'ggml', layers: [8, 8], codec: 'f32' },
    { engine: 'ggml', layers: [8, 8], codec: 'fp8' },
    { engine: 'onnx', layers: [8, 8], codec: 'f32' },
    { engine: 'onnx', layers: [5, 6, 5], codec: 'fp8' },
  ] as const)('$engine over $layers, $codec', async (options) => {
    await expectSameTexts(options, demoVocabulary);
  });

  test.each([
    { what: 'windows', shape: { ...tinyShape, architecture: 'gemma2', layers: 4 } },
    { what: 'states', shape: tinyHybrid },
  ])('in models with $what', async ({ what, shape }) => {
    const numbers = what === 'windows' ? { numbers: { 'attention.sliding_window': 32 } } : {};
    const model = syntheticModel({ ...shape, ...numbers }, 'q8_0');
    const layers = [2, shape.layers - 2];
    await withFile(model, (file) =>
      expectSameTexts({ model: file, layers, chunkTokens: 128 }, shape.vocabulary),
    );
  });

  test('while some speculate, until others join', async () => {
    const random = new Random(7);
    const members = crowd(random, demoVocabulary);
    await using cluster = await openTestCluster({
      layers: [8, 8],
      conversations: size,
      speculation: () =>
        Promise.resolve({
          choice: 'pipelined',
          draftMs: 0,
          drafts: () => knowing(members, random),
          schedule: () => ({ mode: 'pipelined', sizes: [2, 3], window: 3 }),
        }),
    });
    const { coordinator } = cluster;
    await askAlone(coordinator, members);
    let accepted = 0;
    for (let round = 0; round < 3; round++) {
      await answerAll(coordinator, members.slice(round * 5, round * 5 + 3), random);
      accepted += coordinator.speculation?.stats.accepted ?? 0;
    }
    expect(accepted).toBeGreaterThan(0);
    await answerAll(coordinator, members, random);
    expect(coordinator.batching.rowsPerStep).toBeGreaterThan(1);
  });
});

/** Knows what everybody is told, and is wrong now and then. */
function knowing(members: readonly Member[], random: Random): DraftSource {
  return {
    name: 'known',
    *draft({ tokens }, count) {
      const isBeginning = ({ prompt, alone }: Member) => {
        const whole = [...prompt, ...alone];
        return tokens.every((token, i) => token === whole[i]);
      };
      const member = members.find(isBeginning);
      const whole = member ? [...member.prompt, ...member.alone] : [];
      for (const token of whole.slice(tokens.length, tokens.length + count))
        yield random.share() < 0.8 ? token : random.between(0, demoVocabulary - 1);
    },
  };
}
