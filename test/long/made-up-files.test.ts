import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { openGguf } from '../../model/gguf/reader.js';
import { DaisychainError } from '../../step/errors.js';
import { openTestEngine } from '../support/engines.js';
import { withFile } from '../support/family.js';
import { wholeModelLogits } from '../support/logits.js';
import { madeUpFiles } from '../support/made-up-files.js';
import { relativeError } from '../support/relative-error.js';
import { tinyShape } from '../support/tiny-model.js';

const { vocabulary } = tinyShape;
const text = [5, 17, 200, 33, 120, 7, 88, 250, 3, 61, 140, 9, 77, 205, 31, 160, 2, 99, 180, 45];
const engine = openTestEngine('ggml');

/** @returns undefined where llama.cpp does not take the file */
function llamaCppAnswer(file: string): Float32Array | undefined {
  const program = fileURLToPath(new URL('../support/llama-cpp-answer.js', import.meta.url));
  const args = [program, file, String(vocabulary), JSON.stringify(text)];
  const { status, stdout } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  return status === 0 ? Float32Array.from(JSON.parse(stdout) as number[]) : undefined;
}

/** The logits after the text, or why the file is refused: in one line. */
async function ourAnswer(file: string): Promise<Float32Array | string> {
  try {
    const source = await openGguf(file);
    try {
      const logits = await wholeModelLogits(engine, source, text);
      return logits.subarray(vocabulary * (text.length - 1));
    } finally {
      await source.close();
    }
  } catch (error) {
    if (!(error instanceof DaisychainError)) throw error;
    expect(error.message).toMatch(/^\P{Cc}{1,400}$/u);
    return error.message;
  }
}

test.each([
  'llama',
  'qwen2',
  'qwen3',
  'gemma2',
  'qwen3moe',
  'step35',
  'mimo2',
  'gpt-oss',
  'deepseek2',
  'qwen35',
  'lfm2',
  'lfm2moe',
])(
  'files of %s with one thing changed give what llama.cpp gives, or are refused',
  async (family) => {
    let equal = 0;
    for (const { what, source } of madeUpFiles(family))
      await withFile(source, async (file) => {
        const ours = await ourAnswer(file);
        if (typeof ours === 'string') return;
        const expected = llamaCppAnswer(file);
        if (!expected) return;
        expect(relativeError(ours, expected), what).toBeLessThan(2e-3);
        equal++;
      });
    // Most changes are of what the family has, or of nobody's interest.
    expect(equal).toBeGreaterThan(10);
  },
);
