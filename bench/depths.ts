import type { Coordinator } from '../coord/coordinator.js';
import { benchmark, type BenchmarkOptions } from './benchmark.js';
import type { DepthResult } from './benchmark-result.js';
import { LlamaBenchTurns, type Comparison } from './comparison.js';
import type { LlamaBenchOptions } from './llama-bench.js';

/** What to measure of texts of several lengths. */
export interface DepthOptions extends Omit<BenchmarkOptions, 'texts' | 'rereads'> {
  /** Token ids of a text of this length. */
  readonly text: (tokens: number) => Int32Array;
  /** What takes turns with us. */
  readonly llamaBench: LlamaBenchOptions | undefined;
}

/**
 * Measures how fast texts of some lengths are continued; each is read once.
 * @throws CoordinatorError, LlamaBenchError
 */
export async function benchmarkDepths(
  coordinator: Coordinator,
  lengths: readonly number[],
  { text, llamaBench, ...options }: DepthOptions,
): Promise<{ depths: DepthResult[]; comparisons: Comparison[] }> {
  const depths: DepthResult[] = [];
  const comparisons: Comparison[] = [];
  for (const depth of lengths) {
    const test = { depth, generate: options.decodeTokens };
    const texts = new Array<Int32Array>(options.conversations).fill(text(depth));
    const turns = llamaBench && new LlamaBenchTurns(llamaBench, test);
    const { decode, stages, speculation } = await benchmark(coordinator, {
      ...options,
      texts: () => texts,
      rereads: false,
      onMeasurement: async (index) => {
        await options.onMeasurement?.(index);
        if (index > 0) await turns?.take();
      },
    });
    depths.push({ depth, decode, stages, ...(speculation ? { speculation } : {}) });
    // They have no drafts.
    if (turns) comparisons.push(turns.against((speculation?.off ?? decode).tokPerSec));
  }
  return { depths, comparisons };
}
