import type { Conversation } from '../coord/conversation.js';
import type { Coordinator } from '../coord/coordinator.js';
import type { TensorSource } from '../model/tensor-source.js';
import type { Sampling } from '../step/sampling.js';
import { median, summarize, type BenchmarkResult, type Measurement } from './benchmark-result.js';
import { expertUse } from './expert-use.js';
import { stageLimits } from './stage-limits.js';

/** What to measure. */
export interface BenchmarkOptions {
  /** [≥ 1] token ids. */
  readonly prompt: Int32Array;
  /** Most tokens to generate after the first. */
  readonly decodeTokens: number;
  /** Measurements, after one that does not count; figures are their medians. */
  readonly repeat: number;
  /** Conversations that decode at once. */
  readonly conversations: number;
  readonly sampling: Sampling;
  /** Whether a token ends the text. */
  readonly isEnd: (token: number) => boolean;
  /** Is filled with prompt and answer, before drafts are used. */
  readonly recording: number[];
  /** The model that is measured, and the cells of all conversations together. */
  readonly source: TensorSource;
  readonly cells: number;
  /** Whether to tell how experts are used, which stages count then; default false. */
  readonly experts?: boolean;
  /** Whether every measurement reads the prompt anew; default true. Otherwise the first one's keys and values stay. */
  readonly rereads?: boolean;
  /** Called before every measurement, the one that does not count as 0, which begins when it resolves. */
  readonly onMeasurement?: (index: number) => Promise<void> | void;
}

/**
 * Measures how fast a model reads a prompt and continues it, and where every stage's time goes while it
 * continues. With speculation the same is measured without it too, in turns.
 * @throws CoordinatorError
 */
export async function benchmark(
  coordinator: Coordinator,
  options: BenchmarkOptions,
): Promise<BenchmarkResult> {
  const limit = await stageLimits(coordinator, options.source, options.cells);
  const conversations = Array.from({ length: options.conversations }, () =>
    coordinator.conversation(),
  );
  const plain: Measurement[] = [];
  const speculative: Measurement[] = [];
  try {
    for (let i = 0; i <= options.repeat; i++) {
      await options.onMeasurement?.(i);
      const off = await measure(coordinator, conversations, options, false);
      if (i > 0) plain.push(off);
      if (!coordinator.speculation) continue;
      const on = await measure(coordinator, conversations, options, true);
      if (i > 0) speculative.push(on);
    }
  } finally {
    for (const conversation of conversations) conversation.close();
  }
  const { prompt, conversations: count, experts = false, source } = options;
  return summarize(plain, speculative, {
    promptTokens: prompt.length,
    conversations: count,
    limit,
    expertUse: experts ? (routings) => expertUse(source, routings) : undefined,
  });
}

async function measure(
  coordinator: Coordinator,
  conversations: readonly Conversation[],
  options: BenchmarkOptions,
  speculate: boolean,
): Promise<Measurement> {
  const { prompt, decodeTokens, sampling, isEnd, recording, rereads = true } = options;
  const generate = async (conversation: Conversation, text: Int32Array, maxTokens: number) => {
    const tokens: number[] = [];
    const how = { sampling, maxTokens, isEnd, speculate };
    for await (const token of conversation.generate(text, how)) tokens.push(token);
    return tokens;
  };
  const ttfts: number[] = [];
  const begun: Int32Array[] = [];
  await coordinator.stats({ reset: true });
  // One after the other, so that each has the pipeline to itself while it reads its prompt.
  for (const conversation of conversations) {
    if (rereads) conversation.reset();
    const begin = performance.now();
    const first = await generate(conversation, prompt, 1);
    ttfts.push(performance.now() - begin);
    begun.push(Int32Array.from([...prompt, ...first]));
  }
  const prefillStages = await coordinator.stats({ reset: true });
  const begin = performance.now();
  const answers = await Promise.all(
    conversations.map(async (conversation, i) => {
      const text = begun[i] as Int32Array;
      return isEnd(text.at(-1) as number) ? [] : generate(conversation, text, decodeTokens);
    }),
  );
  const decodeMs = performance.now() - begin;
  const stages = await coordinator.stats();
  if (!speculate) {
    recording.length = 0;
    for (const token of [...(begun[0] ?? []), ...(answers[0] ?? [])]) recording.push(token);
  }
  return {
    ttftMs: median(ttfts),
    tokens: answers.reduce((sum, { length }) => sum + length, 0),
    decodeMs,
    prefillStages,
    stages,
    speculation: coordinator.speculation?.stats,
  };
}
