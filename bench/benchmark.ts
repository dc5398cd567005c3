import type { Conversation } from '../coord/conversation.js';
import type { Coordinator } from '../coord/coordinator.js';
import type { TensorSource } from '../model/tensor-source.js';
import { summarize, type BenchmarkResult, type Measurement } from './benchmark-result.js';
import { expertUse } from './expert-use.js';
import { measureArriving, measureTogether, type AnswerOptions } from './measure.js';
import { stageLimits } from './stage-limits.js';

/** What to measure. */
export interface BenchmarkOptions extends AnswerOptions {
  /** What every conversation begins with, [≥ 1] token ids, in each measurement; the one that does not count is 0. */
  readonly texts: (measurement: number) => readonly Int32Array[];
  /** Measurements, after one that does not count; figures are their medians. */
  readonly repeat: number;
  /** Conversations at once. */
  readonly conversations: number;
  /** When each of them arrives, in milliseconds; default: they read their texts in turn, and answer together. */
  readonly arrivals?: readonly number[] | undefined;
  /** The model that is measured, and the cells of all conversations together. */
  readonly source: TensorSource;
  readonly cells: number;
  /** Whether to tell how experts are used, which stages count then; default false. */
  readonly experts?: boolean;
  /** Whether every measurement reads the texts anew; default true. Otherwise the first one's keys and values stay. */
  readonly rereads?: boolean;
  /** Called before every measurement, which begins when it resolves. */
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
  const { conversations: count, experts = false, source, texts } = options;
  const limit = await stageLimits(coordinator, source, options.cells);
  using crowd = new Crowd(coordinator, options);
  const plain: Measurement[] = [];
  const speculative: Measurement[] = [];
  for (let i = 0; i <= options.repeat; i++) {
    await options.onMeasurement?.(i);
    const off = await crowd.measure(texts(i), false);
    if (i > 0) plain.push(off);
    if (!coordinator.speculation) continue;
    const on = await crowd.measure(texts(i), true);
    if (i > 0) speculative.push(on);
  }
  return summarize(plain, speculative, {
    promptTokens: texts(0)[0]?.length ?? 0,
    conversations: count,
    limit,
    expertUse: experts ? (routings) => expertUse(source, routings) : undefined,
  });
}

/** The conversations of all measurements: those that arrive one by one are others each time. */
class Crowd implements Disposable {
  readonly #together: readonly Conversation[];

  constructor(
    private readonly coordinator: Coordinator,
    private readonly options: BenchmarkOptions,
  ) {
    const { arrivals, conversations } = options;
    this.#together = Array.from({ length: arrivals ? 0 : conversations }, () =>
      coordinator.conversation(),
    );
  }

  /** @throws CoordinatorError */
  measure(texts: readonly Int32Array[], speculate: boolean): Promise<Measurement> {
    const { coordinator, options } = this;
    const { arrivals, rereads = true } = options;
    if (arrivals) return measureArriving(coordinator, arrivals, texts, options, speculate);
    if (rereads) for (const conversation of this.#together) conversation.reset();
    return measureTogether(coordinator, this.#together, texts, options, speculate);
  }

  [Symbol.dispose](): void {
    for (const conversation of this.#together) conversation.close();
  }
}
