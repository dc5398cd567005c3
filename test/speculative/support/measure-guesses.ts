import path from 'node:path';
import { textStep } from '../../../bench/text-step.js';
import type { Stage } from '../../../engine/engine.js';
import { openGgmlEngine } from '../../../engine/ggml/ggml-engine.js';
import { gumbelNoise } from '../../../engine/sampling/noise.js';
import { openGguf } from '../../../model/gguf/reader.js';
import { greedy, type Sampling } from '../../../step/sampling.js';
import { goldenCases, repositoryPath } from '../../support/golden.js';
import { generate, loadStages } from '../../support/local-stages.js';

/** A place in a text: what its draft guesses there. */
interface Place {
  /** Which of its guesses is the target's choice: 0 is the first. */
  readonly rank: number;
  /** Between the scores of its first two. */
  readonly margin: number;
}

const cells = 512;
const sampledTokens = 100;
const parts = 5;

/**
 * How often the demo draft's first, second and third guess are the demo model's choice, by the margin between its first
 * two. Guesses are in the order in which the draft would choose: with the noise of the text's seed and position.
 */
async function measure(temperature: number, target: Stage, draft: Stage): Promise<Place[]> {
  const places: Place[] = [];
  for (const [i, { promptTokens, tokens }] of goldenCases('demo-q8_0.json').entries()) {
    const sampling: Sampling = { ...greedy, temperature, seed: 100 + i };
    const answer =
      temperature === 0
        ? tokens
        : await generate([target], promptTokens, sampledTokens, sampling, cells);
    places.push(...(await placesOf(promptTokens, answer, sampling, draft)));
  }
  return places.sort((a, b) => a.margin - b.margin);
}

async function placesOf(
  prompt: readonly number[],
  answer: readonly number[],
  { temperature, seed }: Sampling,
  draft: Stage,
): Promise<Place[]> {
  const text = [...prompt, ...answer];
  const step = textStep(text, { cells: { start: 0, length: cells } });
  const logits = await draft.logits(step, new Float32Array(0));
  const vocabulary = logits.length / text.length;
  return answer.map((choice, i) => {
    const position = prompt.length + i - 1;
    const row = logits.subarray(position * vocabulary, (position + 1) * vocabulary);
    const scores =
      temperature === 0
        ? row
        : row.map((logit, token) => logit / temperature + gumbelNoise(seed, position, token));
    const rank = scores.filter((score) => score > (scores[choice] as number)).length;
    const [first = 0, second = 0] = scores.toSorted((a, b) => b - a);
    return { rank, margin: first - second };
  });
}

function describe(places: readonly Place[]): string {
  const share = (rank: number) =>
    (places.filter((place) => place.rank === rank).length / places.length).toFixed(2);
  return `${[0, 1, 2].map(share).join(', ')} of ${places.length}, margins to ${places.at(-1)?.margin.toFixed(2)}`;
}

async function load(file: string, layers: number): Promise<Stage> {
  const source = await openGguf(repositoryPath(`models/${file}`));
  const engine = openGgmlEngine({ device: 'cpu', threads: 1 });
  const [stage] = await loadStages(engine, source, [layers], cells);
  await source.close();
  if (!stage) throw new Error('no stage');
  return stage;
}

if (path.basename(process.argv[1] ?? '') === 'measure-guesses.js') {
  const target = await load('demo.gguf', 16);
  const draft = await load('demo-draft.gguf', 2);
  for (const temperature of [0, 1, 1.5, 1.7, 1.85]) {
    const places = await measure(temperature, target, draft);
    console.log(`temperature ${temperature}: right ${describe(places)}`);
    for (let part = 0; part < parts; part++) {
      const [from, to] = [part, part + 1].map((i) => Math.floor((i * places.length) / parts));
      console.log(`  ${describe(places.slice(from, to))}`);
    }
  }
  target.dispose();
  draft.dispose();
}
