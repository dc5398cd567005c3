import fs from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { causalBatch } from '../coord/step-builder.js';
import { greedy, type Stage } from '../engine/engine.js';
import { openGgmlEngine } from '../engine/ggml/ggml-engine.js';
import { openGguf } from '../model/gguf/reader.js';
import type { Codec } from '../transport/codecs/codec.js';
import { codecNamed, codecNames } from '../transport/codecs/codecs.js';

/** What a codec does to a model's output. */
export interface CodecQuality {
  readonly codec: string;
  readonly links: number;
  readonly tokens: number;
  /** Mean Kullback-Leibler divergence of the next token's distribution from that with f32, in nats. */
  readonly divergence: number;
  /** Share of positions whose likeliest token is the one with f32. */
  readonly agreement: number;
  /** The same, of the positions that choose the answers' tokens; in prompts many tokens are equally likely. */
  readonly answerAgreement: number;
}

/** Layers per stage; every boundary is a link. */
const splits = [
  [8, 8],
  [4, 4, 4, 4],
];

/**
 * Measures every codec on the demo model over its golden texts, prompt and answer as one input.
 * @param folder of the repository
 */
export async function measureQuality(folder: URL): Promise<CodecQuality[]> {
  const texts = await goldenTexts(new URL('test/golden/demo-q8_0.json', folder));
  await using source = disposable(
    await openGguf(fileURLToPath(new URL('models/demo.gguf', folder))),
  );
  const engine = openGgmlEngine({ device: 'cpu', threads: 1 });
  const results: CodecQuality[] = [];
  for (const layers of splits) {
    const stages: Stage[] = [];
    let firstLayer = 0;
    for (const [i, count] of layers.entries()) {
      const endLayer = firstLayer + count;
      const shard = { firstLayer, endLayer, embedding: i === 0, head: i === layers.length - 1 };
      stages.push(
        await engine.load({
          source: source.value,
          shard,
          cells: 512,
          kvType: 'f16',
          maxBatchTokens: 512,
        }),
      );
      firstLayer = endLayer;
    }
    const exact: Float32Array[] = [];
    for (const { text } of texts) exact.push(await logitsOver(stages, text, codecNamed('f32')));
    for (const name of codecNames)
      results.push(await measureCodec(stages, texts, exact, codecNamed(name)));
    for (const stage of stages) stage.dispose();
  }
  return results;
}

async function measureCodec(
  stages: readonly Stage[],
  texts: readonly GoldenText[],
  exact: readonly Float32Array[],
  codec: Codec,
): Promise<CodecQuality> {
  let tokens = 0;
  let divergence = 0;
  let agreeing = 0;
  let answerTokens = 0;
  let answersAgreeing = 0;
  for (const [i, { text, promptTokens }] of texts.entries()) {
    const logits = await logitsOver(stages, text, codec);
    const reference = exact[i] as Float32Array;
    const vocabulary = reference.length / text.length;
    for (let row = 0; row < text.length; row++) {
      const part = (values: Float32Array) =>
        values.subarray(row * vocabulary, (row + 1) * vocabulary);
      const [p, q] = [logSoftmax(part(reference)), logSoftmax(part(logits))];
      divergence += p.reduce((sum, log, j) => sum + Math.exp(log) * (log - (q[j] as number)), 0);
      const agrees = likeliest(p) === likeliest(q) ? 1 : 0;
      agreeing += agrees;
      tokens++;
      // The last position chooses what would follow the answer.
      if (row < promptTokens - 1 || row === text.length - 1) continue;
      answersAgreeing += agrees;
      answerTokens++;
    }
  }
  return {
    codec: codec.name,
    links: stages.length - 1,
    tokens,
    divergence: divergence / tokens,
    agreement: agreeing / tokens,
    answerAgreement: answersAgreeing / answerTokens,
  };
}

/** Logits after every token of a text, hidden states going through the codec on every link. */
async function logitsOver(
  stages: readonly Stage[],
  text: readonly number[],
  codec: Codec,
): Promise<Float32Array> {
  const outputs = Int32Array.from(text, (_, i) => i);
  const batch = causalBatch(text, 0, text.length, { start: 0, length: 512 }, outputs, greedy);
  let hidden: Float32Array = new Float32Array(0);
  for (const stage of stages) {
    if (stage.shard.head) return stage.logits(batch, hidden);
    const output = new Float32Array(text.length * stage.hiddenSize);
    await stage.forward(batch, hidden, output);
    const bytes = new Uint8Array(codec.encodedBytes(text.length, stage.hiddenSize));
    codec.encode(output, text.length, stage.hiddenSize, bytes);
    codec.decode(bytes, text.length, stage.hiddenSize, output);
    hidden = output;
  }
  throw new Error('the last stage has no head');
}

function logSoftmax(logits: Float32Array): Float64Array {
  let max = -Infinity;
  for (const logit of logits) max = Math.max(max, logit);
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - max);
  const shift = max + Math.log(sum);
  return Float64Array.from(logits, (logit) => logit - shift);
}

function likeliest(values: Float64Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++)
    if ((values[i] as number) > (values[best] as number)) best = i;
  return best;
}

/** Prompt and answer as one. */
interface GoldenText {
  readonly text: readonly number[];
  readonly promptTokens: number;
}

async function goldenTexts(file: URL): Promise<GoldenText[]> {
  const { cases } = JSON.parse(await fs.readFile(file, 'utf8')) as {
    cases: { promptTokens: number[]; tokens: number[] }[];
  };
  return cases.map(({ promptTokens, tokens }) => ({
    text: [...promptTokens, ...tokens],
    promptTokens: promptTokens.length,
  }));
}

function disposable<Value extends { close(): Promise<void> }>(value: Value) {
  return { value, [Symbol.asyncDispose]: () => value.close() };
}

if (process.argv[1]?.endsWith('quality.js')) {
  const results = await measureQuality(new URL('../../', import.meta.url));
  for (const { codec, links, tokens, divergence, agreement, answerAgreement } of results)
    console.log(
      `${codec.padEnd(5)} ${links} links  KL ${divergence.toExponential(2)} nats per token` +
        `  greedy agreement ${(answerAgreement * 100).toFixed(2)} % of answers,` +
        ` ${(agreement * 100).toFixed(2)} % of all ${tokens} tokens`,
    );
}
