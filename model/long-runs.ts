import { ModelError } from './errors.js';

/**
 * Splitters (metadata `tokenizer.ggml.pre`) that libllama wrote by hand. It runs all others as std::regex, which on
 * some systems recurses once for every character of a run and overflows the stack: 8 MB last for about 5900.
 */
const handWritten: ReadonlySet<string> = new Set([
  '',
  'default',
  'gpt-2',
  'llama3',
  'llama-v3',
  'llama-bpe',
  'qwen2',
  'qwen35',
  'deepseek-r1-qwen',
  'smollm',
  'smaug-bpe',
  'dbrx',
  'falcon3',
  'exaone',
  'stablelm2',
  'starcoder',
  'refact',
  'command-r',
  'olmo',
  'glm4',
  'kimi-k2',
  'hunyuan',
  'lfm2',
  'superbpe',
]);

/** Most characters of one kind in a row that any splitter takes. */
const longestRun = 4000;
const runs = /\s+|[\p{L}\p{M}]+|\p{N}+|[^\s\p{L}\p{M}\p{N}]+/gu;

/**
 * Refuses text that would end the process within libllama.
 * @param splitter `tokenizer.ggml.pre` of the model, empty when it has none
 * @throws ModelError when one kind of characters goes on for too long
 */
export function refuseLongRuns(text: string, splitter: string): void {
  if (text.length <= longestRun || handWritten.has(splitter)) return;
  for (const [run] of text.matchAll(runs))
    if (run.length > longestRun)
      throw new ModelError(
        'text',
        `the text has ${run.length} characters without a break (${JSON.stringify(run.slice(0, 12))}…), this model's tokenizer takes ${longestRun}: break it up`,
      );
}
