import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { calibrationText } from '../coord/kv-calibration.js';
import { kvTypes, type Stage } from '../engine/engine.js';
import { openGgmlEngine } from '../engine/ggml/ggml-engine.js';
import { openOnnxEngine } from '../engine/onnx/onnx-engine.js';
import { openGguf } from '../model/gguf/reader.js';
import { Tokenizer } from '../model/tokenizer.js';
import { describeDivergence, divergenceOf, goldenTexts, type Divergence } from './divergence.js';
import { textStep } from './text-step.js';
import { loadWholeModel } from './whole-model.js';

/** What a type of keys and values does to a model's output, against the engine's default. */
export interface KvQuality extends Divergence {
  readonly engine: string;
  readonly stored: string;
}

const cells = 512;
const range = { start: 0, length: cells };

/**
 * Measures the types that each engine keeps keys and values in, on the demo model over its golden texts.
 * @param folder of the repository
 */
export async function measureKvQuality(folder: URL): Promise<KvQuality[]> {
  const model = fileURLToPath(new URL('models/demo.gguf', folder));
  const source = await openGguf(model);
  const texts = await goldenTexts(folder);
  const cacheDirectory = await fs.mkdtemp(path.join(os.tmpdir(), 'daisychain-'));
  const engines = [
    { engine: openGgmlEngine({ device: 'cpu', threads: 1 }), types: kvTypes },
    {
      engine: openOnnxEngine({ provider: 'cpu', threads: 1, cacheDirectory }),
      types: kvTypes.slice(0, 2),
    },
  ];
  const readable = () => {
    using tokenizer = Tokenizer.load(model);
    return calibrationText(source, tokenizer);
  };
  const results: KvQuality[] = [];
  try {
    for (const { engine, types } of engines) {
      let exact: Float32Array[] | undefined;
      for (const kvType of types) {
        const options = { source, kvType, cells, maxStepRows: cells };
        const stage = await loadWholeModel(engine, options, readable);
        const logits: Float32Array[] = [];
        for (const { text } of texts) logits.push(await logitsOf(stage, text));
        exact ??= logits;
        const divergence = divergenceOf(texts, exact, logits);
        results.push({ engine: engine.name, stored: stage.kvType, ...divergence });
        stage.dispose();
      }
    }
    return results;
  } finally {
    await source.close();
    await fs.rm(cacheDirectory, { recursive: true });
  }
}

/** Logits after every token of a text. */
function logitsOf(stage: Stage, text: readonly number[]): Promise<Float32Array> {
  return stage.logits(textStep(text, { cells: range }), new Float32Array(0));
}

if (path.basename(process.argv[1] ?? '') === 'kv-quality.js') {
  const results = await measureKvQuality(new URL('../../', import.meta.url));
  for (const { engine, stored, ...divergence } of results)
    console.log(`${engine.padEnd(5)} ${stored.padEnd(5)} ${describeDivergence(divergence)}`);
}
