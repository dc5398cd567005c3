/** A process of its own: opens damaged files, and has native code use those that are in order all the same. */
import fs from 'node:fs/promises';
import { textStep } from '../../../bench/text-step.js';
import type { Engine } from '../../../engine/engine.js';
import { openGgmlEngine } from '../../../engine/ggml/ggml-engine.js';
import { checkModel } from '../../../model/architectures/check-model.js';
import { ModelError } from '../../../model/errors.js';
import { openGguf } from '../../../model/gguf/reader.js';
import { Tokenizer } from '../../../model/tokenizer.js';
import { DaisychainError } from '../../../step/errors.js';
import { soundFiles, writeDamaged } from './mutated-headers.js';

/** What became of the files that passed the check. */
export interface UseReport {
  computed: number;
  tokenized: number;
  /** Refused by the engine or by the tokenizer. */
  refused: number;
  /** Growth of this process after the first half. */
  grownBytes: number;
}

const [folder = '', seeds = '0'] = process.argv.slice(2);
const report: UseReport = { computed: 0, tokenized: 0, refused: 0, grownBytes: 0 };
const engine = openGgmlEngine({ device: 'cpu', threads: 1 });
const sounds = await soundFiles(folder);
const file = `${folder}/used.gguf`;
let resident = 0;
for (let seed = 0; seed < Number(seeds); seed++) {
  // The last one is the culprit when this process ends.
  await fs.writeFile(`${folder}/seed`, String(seed));
  await writeDamaged(file, sounds, seed);
  await use(file, engine);
  if (seed === Number(seeds) >> 1) resident = process.memoryUsage.rss();
}
report.grownBytes = process.memoryUsage.rss() - resident;
process.stdout.write(JSON.stringify(report));

async function use(path: string, engine: Engine): Promise<void> {
  const source = await openGguf(path).catch(refused(ModelError));
  if (!source) return;
  try {
    const { sizes } = checkModel(source);
    await attempt('tokenized', () => {
      using tokenizer = Tokenizer.load(path);
      tokenizer.encode('hello, abcd\n naïve <|end|>', { parseSpecial: true, addSpecial: true });
      for (let id = 0; id < Math.min(tokenizer.size, 400); id++) tokenizer.piece(id, true);
    });
    await attempt('computed', async () => {
      const shard = { firstLayer: 0, endLayer: sizes.layers, embedding: true, head: true };
      const options = { source, shard, cells: 32, kvType: 'f16', maxStepRows: 4 } as const;
      const stage = await engine.load(options);
      try {
        const step = textStep([0, 1, 2], { cells: { start: 0, length: 32 } });
        await stage.forward(step, new Float32Array(0), new Float32Array(0));
      } finally {
        stage.dispose();
      }
    });
  } catch (error) {
    refused(ModelError)(error);
  } finally {
    await source.close();
  }
}

async function attempt(
  outcome: 'tokenized' | 'computed',
  work: () => Promise<void> | void,
): Promise<void> {
  try {
    await work();
    report[outcome]++;
  } catch (error) {
    refused(DaisychainError)(error);
    report.refused++;
  }
}

/** Anything else is a defect, and ends this process. */
function refused(expected: abstract new (...values: never[]) => Error) {
  return (error: unknown): undefined => {
    if (!(error instanceof expected)) throw error;
    return undefined;
  };
}
