import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Engine, EngineName, KvType } from '../../engine/engine.js';
import { openGgmlEngine } from '../../engine/ggml/ggml-engine.js';
import { openOnnxEngine } from '../../engine/onnx/onnx-engine.js';

/** An engine, and what it keeps keys and values in. */
export interface Computing {
  readonly engine: EngineName;
  readonly kvType: KvType;
}

/** What both engines keep by default, and the type that one of them has its own way of keeping. */
export const computings: readonly Computing[] = [
  { engine: 'ggml', kvType: 'f16' },
  { engine: 'onnx', kvType: 'f16' },
  { engine: 'onnx', kvType: 'q8_0' },
];

let folder: string | undefined;

/** Where this process's engines keep packed weights; gone when it ends. */
export function packedWeightsFolder(): string {
  if (folder === undefined) {
    const created = fs.mkdtempSync(path.join(os.tmpdir(), 'daisychain-onnx-'));
    process.once('exit', () => fs.rmSync(created, { recursive: true, force: true }));
    folder = created;
  }
  return folder;
}

/** An engine on the CPU. */
export function openTestEngine(name: EngineName, threads = 1): Engine {
  if (name === 'ggml') return openGgmlEngine({ device: 'cpu', threads });
  // The Q4_0 demo model has its embedding in q6_K, which is the head's matrix as well.
  const cacheDirectory = packedWeightsFolder();
  return openOnnxEngine({ provider: 'cpu', threads, cacheDirectory, requantize: true });
}
