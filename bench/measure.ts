import { setTimeout as sleep } from 'node:timers/promises';
import type { Conversation } from '../coord/conversation.js';
import type { Coordinator } from '../coord/coordinator.js';
import type { Sampling } from '../step/sampling.js';
import type { Measurement } from './benchmark-result.js';
import type { Waits } from './waits.js';

/** How answers are made, and what becomes of them. */
export interface AnswerOptions {
  /** Most tokens to generate after the first. */
  readonly decodeTokens: number;
  readonly sampling: Sampling;
  /** Whether a token ends the text. */
  readonly isEnd: (token: number) => boolean;
  /** Whether texts may begin with what others have. */
  readonly reuse: boolean;
  /** Is filled with the first text and its answer, before drafts are used. */
  readonly recording: number[];
}

/** What is asked of a coordinator. */
type Measurable = Pick<Coordinator, 'conversation' | 'stats' | 'speculation' | 'batching'>;

/** An answer as its reader sees it. */
interface TimedAnswer {
  readonly tokens: readonly number[];
  readonly waits: Waits;
}

/**
 * One conversation after the other reads its text, so that each has the pipeline to itself; then all answer at once.
 * @param texts of the conversations
 * @throws CoordinatorError
 */
export async function measureTogether(
  coordinator: Measurable,
  conversations: readonly Conversation[],
  texts: readonly Int32Array[],
  options: AnswerOptions,
  speculate: boolean,
): Promise<Measurement> {
  await coordinator.stats({ reset: true });
  const begun: TimedAnswer[] = [];
  for (const [i, conversation] of conversations.entries())
    begun.push(await answer(conversation, texts[i] as Int32Array, 1, options, speculate));
  const prefillStages = await coordinator.stats({ reset: true });
  const begin = performance.now();
  const continued = await Promise.all(
    conversations.map(async (conversation, i) => {
      const { tokens: first } = begun[i] as TimedAnswer;
      if (first.some(options.isEnd)) return { tokens: [], waits: [] };
      const text = Int32Array.from([...(texts[i] as Int32Array), ...first]);
      return answer(conversation, text, options.decodeTokens, options, speculate);
    }),
  );
  const decodeMs = performance.now() - begin;
  const answers = begun.map(({ tokens, waits }, i) => ({
    tokens: [...tokens, ...(continued[i]?.tokens ?? [])],
    waits: [...waits, ...(continued[i]?.waits ?? [])],
  }));
  if (!speculate) record(options.recording, texts, answers);
  return measurement(coordinator, answers, decodeMs, prefillStages);
}

/**
 * Every conversation begins when it arrives, whatever the others do, and is closed when it is answered.
 * @param arrivals when they arrive, in milliseconds
 * @param texts of the conversations
 * @throws CoordinatorError of the first that fails; those that have not arrived do not come then
 */
export async function measureArriving(
  coordinator: Measurable,
  arrivals: readonly number[],
  texts: readonly Int32Array[],
  options: AnswerOptions,
  speculate: boolean,
): Promise<Measurement> {
  await coordinator.stats({ reset: true });
  const begin = performance.now();
  const failed = new AbortController();
  const answers = await Promise.all(
    arrivals.map(async (arrival, i) => {
      const ms = Math.max(0, begin + arrival - performance.now());
      await sleep(ms, undefined, { signal: failed.signal });
      const conversation = coordinator.conversation();
      try {
        const most = options.decodeTokens + 1;
        return await answer(conversation, texts[i] as Int32Array, most, options, speculate);
      } catch (error) {
        // Nobody waits for those who have not arrived.
        failed.abort();
        throw error;
      } finally {
        conversation.close();
      }
    }),
  );
  const elapsedMs = performance.now() - begin;
  if (!speculate) record(options.recording, texts, answers);
  return measurement(coordinator, answers, elapsedMs, []);
}

async function answer(
  conversation: Conversation,
  text: Int32Array,
  maxTokens: number,
  { sampling, isEnd, reuse }: AnswerOptions,
  speculate: boolean,
): Promise<TimedAnswer> {
  const tokens: number[] = [];
  const waits: number[] = [];
  let before = performance.now();
  const how = { sampling, maxTokens, isEnd, speculate, reuse };
  for await (const token of conversation.generate(text, how)) {
    const now = performance.now();
    tokens.push(token);
    waits.push(now - before);
    before = now;
  }
  return { tokens, waits };
}

function record(
  recording: number[],
  texts: readonly Int32Array[],
  answers: readonly TimedAnswer[],
): void {
  recording.length = 0;
  for (const token of [...(texts[0] ?? []), ...(answers[0]?.tokens ?? [])]) recording.push(token);
}

async function measurement(
  coordinator: Measurable,
  answers: readonly TimedAnswer[],
  decodeMs: number,
  prefillStages: Measurement['prefillStages'],
): Promise<Measurement> {
  return {
    waits: answers.map(({ waits }) => waits),
    decodeMs,
    prefillStages,
    stages: await coordinator.stats(),
    speculation: coordinator.speculation?.stats,
    batching: coordinator.batching,
  };
}
