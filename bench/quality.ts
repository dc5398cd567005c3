import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Stage } from '../engine/engine.js';
import { openGgmlEngine } from '../engine/ggml/ggml-engine.js';
import { openGguf } from '../model/gguf/reader.js';
import type { Codec } from '../transport/wire/codecs/codec.js';
import { codecNamed, codecNames } from '../transport/wire/codecs/codecs.js';
import { describeDivergence, divergenceOf, goldenTexts, type Divergence } from './divergence.js';
import { textStep } from './text-step.js';

/** What a codec does to a model's output, against f32. */
export interface CodecQuality extends Divergence {
  readonly codec: string;
  readonly links: number;
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
  const texts = await goldenTexts(folder);
  const source = await openGguf(fileURLToPath(new URL('models/demo.gguf', folder)));
  const engine = openGgmlEngine({ device: 'cpu', threads: 1 });
  const results: CodecQuality[] = [];
  try {
    for (const layers of splits) {
      const stages: Stage[] = [];
      let firstLayer = 0;
      for (const [i, count] of layers.entries()) {
        const endLayer = firstLayer + count;
        const shard = { firstLayer, endLayer, embedding: i === 0, head: i === layers.length - 1 };
        const options = { source, shard, cells: 512, kvType: 'f16', maxStepRows: 512 } as const;
        stages.push(await engine.load(options));
        firstLayer = endLayer;
      }
      const logitsWith = async (codec: Codec) => {
        const logits: Float32Array[] = [];
        for (const { text } of texts) logits.push(await logitsOver(stages, text, codec));
        return logits;
      };
      const exact = await logitsWith(codecNamed('f32'));
      for (const codec of codecNames) {
        const divergence = divergenceOf(texts, exact, await logitsWith(codecNamed(codec)));
        results.push({ codec, links: stages.length - 1, ...divergence });
      }
      for (const stage of stages) stage.dispose();
    }
    return results;
  } finally {
    await source.close();
  }
}

/** Logits after every token of a text, hidden states going through the codec on every link. */
async function logitsOver(
  stages: readonly Stage[],
  text: readonly number[],
  codec: Codec,
): Promise<Float32Array> {
  const step = textStep(text, { cells: { start: 0, length: 512 } });
  let hidden: Float32Array = new Float32Array(0);
  for (const stage of stages) {
    if (stage.shard.head) return stage.logits(step, hidden);
    const output = new Float32Array(text.length * stage.hiddenSize);
    await stage.forward(step, hidden, output);
    const bytes = new Uint8Array(codec.encodedBytes(text.length, stage.hiddenSize));
    codec.encode(output, text.length, stage.hiddenSize, bytes);
    codec.decode(bytes, text.length, stage.hiddenSize, output);
    hidden = output;
  }
  throw new Error('the last stage has no head');
}

if (path.basename(process.argv[1] ?? '') === 'quality.js') {
  const results = await measureQuality(new URL('../../', import.meta.url));
  for (const { codec, links, ...divergence } of results)
    console.log(`${codec.padEnd(5)} ${links} links  ${describeDivergence(divergence)}`);
}
