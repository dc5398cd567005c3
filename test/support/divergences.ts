import { expect } from 'vitest';
import { textStep } from '../../bench/text-step.js';
import type { Stage } from '../../engine/engine.js';
import { filterCandidates } from '../../engine/sampling/candidates.js';
import { LogitBlocks } from '../../engine/sampling/logit-blocks.js';
import { gumbelNoise } from '../../engine/sampling/noise.js';
import { penalise } from '../../engine/sampling/penalty.js';
import { recentTokens } from '../../engine/sampling/recent-tokens.js';
import { openGguf } from '../../model/gguf/reader.js';
import type { Sampling } from '../../step/sampling.js';
import { openTestEngine, type Computing } from './engines.js';
import { repositoryPath } from './golden.js';
import { loadStages } from './local-stages.js';

/** Choices between tokens whose scores differ by less may turn out differently when a kernel rounds differently. */
const narrowMargin = 1e-3;

/**
 * Compares texts that should be equal. Kernels may round differently for other batch shapes, so texts may part where two
 * tokens score alike, and are not compared further; but seldom.
 */
export class Divergences implements AsyncDisposable {
  readonly #found: string[] = [];
  #tokens = 0;

  private constructor(
    private readonly stages: readonly Stage[],
    private readonly close: () => Promise<void>,
  ) {}

  static async open(
    model: string,
    layers: readonly number[],
    { engine, kvType }: Computing = { engine: 'ggml', kvType: 'f16' },
  ): Promise<Divergences> {
    const source = await openGguf(repositoryPath(`models/${model}`));
    const total = layers.reduce((sum, count) => sum + count, 0);
    const stages = await loadStages(openTestEngine(engine), source, [total], 512, kvType);
    return new Divergences(stages, async () => {
      for (const stage of stages) stage.dispose();
      await source.close();
    });
  }

  async compare(
    prompt: readonly number[],
    expected: readonly number[],
    actual: readonly number[],
    sampling: Sampling,
  ): Promise<void> {
    this.#tokens += expected.length;
    if (actual.join() === expected.join()) return;
    const parting = expected.findIndex((token, i) => token !== actual[i]);
    const text = [...prompt, ...expected.slice(0, parting)];
    const margin = await this.#margin(text, sampling);
    const what = `token ${parting}: ${expected[parting]} or ${actual[parting]}, margin ${margin}`;
    expect(margin, what).toBeLessThan(narrowMargin);
    this.#found.push(what);
  }

  /** Fewer than one in 2,000 tokens. */
  check(): void {
    if (this.#found.length > 0) console.log(this.#found.join('\n'));
    expect(this.#found.length).toBeLessThan(this.#tokens / 2000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** By how much the best token after a text beats the second. */
  async #margin(text: readonly number[], sampling: Sampling): Promise<number> {
    const last = text.length - 1;
    const cells = { start: 0, length: 512 };
    const step = textStep(text, { cells, choices: 'last', sampling });
    const [stage] = this.stages;
    const [segment] = step.segments;
    if (!stage || !segment) throw new Error('no stage');
    const logits = await stage.logits(step, new Float32Array(0));
    const scores = scoresOf(logits, sampling, last, recentTokens(segment, last));
    const [best, second] = scores.sort((a, b) => b - a);
    return (best as number) - (second as number);
  }
}

/** What the choice is the largest of. */
function scoresOf(
  logits: Float32Array,
  sampling: Sampling,
  position: number,
  recent: Int32Array,
): number[] {
  penalise(logits, sampling.repetitionPenalty, recent);
  if (sampling.temperature === 0) return [...logits];
  const tokens = filterCandidates(new LogitBlocks(logits), sampling);
  return Array.from(
    tokens,
    (token) => logits[token]! / sampling.temperature + gumbelNoise(sampling.seed, position, token),
  );
}
