import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import type { Stage } from '../engine/engine.js';
import { openGgmlEngine } from '../engine/ggml/ggml-engine.js';
import { openOnnxEngine } from '../engine/onnx/onnx-engine.js';
import { readModelSizes } from '../model/architectures/model.js';
import { randomTokens } from '../model/random-tokens.js';
import { syntheticModel } from '../model/synthetic/synthetic-model.js';
import { median } from './benchmark-result.js';
import { textStep } from './text-step.js';
import { loadWholeModel } from './whole-model.js';

/** What to compare the engines on. */
export interface EngineComparison {
  /** Type of the weights of the Qwen3-0.6B shape. */
  readonly type: string;
  /** Tokens of the prompt. */
  readonly prefill: number;
  /** Tokens that each decodes after it. */
  readonly decode: number;
}

/** How fast one engine is with one KV type, on one thread. */
export interface EngineSpeed {
  readonly engine: string;
  /** What keys and values are stored in. */
  readonly stored: string;
  /** Medians. */
  readonly prefillTokPerSec: number;
  readonly decodeTokPerSec: number;
}

const prefillRounds = 3;
const chunkTokens = 512;
const nothing = new Float32Array(0);

/** A loaded model and what was measured on it. */
interface Candidate {
  readonly engine: string;
  readonly stage: Stage;
  readonly prefillMs: number[];
  readonly decodeMs: number[];
}

/** Measures both engines with KV types f16 and q8_0, in turns, so that what disturbs one disturbs all. */
export async function compareEngines(comparison: EngineComparison): Promise<EngineSpeed[]> {
  const { prefill, decode } = comparison;
  const source = syntheticModel('qwen3-0.6b', comparison.type);
  const text = randomTokens(prefill + decode, readModelSizes(source).vocabulary);
  const cacheDirectory = await fs.mkdtemp(path.join(os.tmpdir(), 'daisychain-'));
  const candidates: Candidate[] = [];
  try {
    for (const engine of [
      openGgmlEngine({ device: 'cpu', threads: 1 }),
      openOnnxEngine({ provider: 'cpu', threads: 1, cacheDirectory }),
    ])
      for (const kvType of ['f16', 'q8_0'] as const) {
        const options = { source, kvType, cells: text.length, maxStepRows: chunkTokens };
        const stage = await loadWholeModel(engine, options, () => text);
        candidates.push({ engine: engine.name, stage, prefillMs: [], decodeMs: [] });
      }
    for (let round = 0; round < prefillRounds; round++)
      for (const { stage, prefillMs } of candidates)
        prefillMs.push(await timed(() => read(stage, text, 0, prefill)));
    for (let first = prefill; first < prefill + decode; first++)
      for (const { stage, decodeMs } of candidates)
        decodeMs.push(await timed(() => read(stage, text, first, 1)));
    return candidates.map(({ engine, stage, prefillMs, decodeMs }) => ({
      engine,
      stored: stage.kvType,
      prefillTokPerSec: (prefill * 1000) / median(prefillMs),
      decodeTokPerSec: 1000 / median(decodeMs),
    }));
  } finally {
    for (const { stage } of candidates) stage.dispose();
    await fs.rm(cacheDirectory, { recursive: true });
  }
}

/** Has a stage read a part of the text; it chooses what follows the last token. */
async function read(stage: Stage, text: Int32Array, first: number, count: number): Promise<void> {
  const end = first + count;
  for (let at = first; at < end; at += chunkTokens) {
    const tokens = Math.min(chunkTokens, end - at);
    const choices = at + tokens === end ? 'last' : 'none';
    const cells = { start: 0, length: text.length };
    const step = textStep(text, { first: at, count: tokens, cells, choices });
    await stage.forward(step, nothing, nothing);
  }
}

async function timed(action: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await action();
  return performance.now() - begin;
}

if (path.basename(process.argv[1] ?? '') === 'engines.js') {
  const { values } = parseArgs({
    options: {
      type: { type: 'string', default: 'q4_0' },
      prefill: { type: 'string', default: '128' },
      decode: { type: 'string', default: '64' },
    },
  });
  const speeds = await compareEngines({
    type: values.type,
    prefill: Number(values.prefill),
    decode: Number(values.decode),
  });
  const reference = speeds[0] as EngineSpeed;
  for (const { engine, stored, prefillTokPerSec, decodeTokPerSec } of speeds) {
    const against = (value: number, other: number) =>
      `${value.toFixed(1).padStart(6)} tok/s (${(value / other).toFixed(2)})`;
    console.log(
      `${engine.padEnd(5)} KV ${stored.padEnd(5)}` +
        `  decode ${against(decodeTokPerSec, reference.decodeTokPerSec)}` +
        `  prefill ${against(prefillTokPerSec, reference.prefillTokPerSec)}`,
    );
  }
}
