import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createLogger } from '../app/logging.js';
import { engineNames, kvTypes } from '../engine/engine.js';
import { describeDifference, tryExactness } from './exactness.js';

/**
 * Prints how many texts of the demo model differ between forms of computing them.
 * Run: node dist/bench/try-exactness.js [--from 0] [--prompts 4] [--engines ggml] [--splits 16,13+3] …
 */
const folder = new URL('../../', import.meta.url);
const { values } = parseArgs({
  options: {
    model: { type: 'string', default: fileURLToPath(new URL('models/demo.gguf', folder)) },
    draft: { type: 'string', default: fileURLToPath(new URL('models/demo-draft.gguf', folder)) },
    engines: { type: 'string', default: 'ggml,onnx' },
    splits: { type: 'string', default: '16,13+3,4+4+4+4' },
    chunks: { type: 'string', default: '512,64,128,300' },
    drafts: { type: 'string', default: 'off,on' },
    load: { type: 'string', default: 'off,on' },
    'kv-type': { type: 'string', default: 'f16' },
    from: { type: 'string', default: '0' },
    prompts: { type: 'string', default: '4' },
    'most-tokens': { type: 'string', default: '2000' },
    tokens: { type: 'string', default: '32' },
  },
});

const list = (text: string) => text.split(',');
const numbers = (text: string, separator: string) => text.split(separator).map(Number);
const switches = (text: string) => list(text).map((value) => value === 'on');

const { texts, differences } = await tryExactness(
  {
    model: values.model,
    draft: values.draft,
    engines: engineNames.filter((name) => list(values.engines).includes(name)),
    splits: list(values.splits).map((split) => numbers(split, '+')),
    chunks: numbers(values.chunks, ','),
    drafts: switches(values.drafts),
    loads: switches(values.load),
    kvType: kvTypes.find((type) => type === values['kv-type']) ?? 'f16',
    from: Number(values.from),
    prompts: Number(values.prompts),
    mostTokens: Number(values['most-tokens']),
    tokens: Number(values.tokens),
  },
  createLogger({}, 'warn'),
  console.log,
);
for (const difference of differences) console.log(describeDifference(difference));
console.log(`${differences.length} differences of ${texts} texts`);
process.exitCode = differences.length === 0 ? 0 : 1;
