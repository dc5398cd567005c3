import fs from 'node:fs';
import path from 'node:path';
import { text as readAll } from 'node:stream/consumers';
import { z } from 'zod';
import { UsageError } from '../app/errors.js';
import { answerFormatOf } from '../model/chat-format/answer-format.js';
import { chatFormatOfModel, type ChatFormat } from '../model/chat-format/chat-format.js';
import type { ChatMessage } from '../model/chat-format/message.js';
import type { TensorSource } from '../model/tensor-source.js';

/** What to answer: plain text or token ids for the model as it is, or messages for its chat template. */
export type Prompt =
  | { readonly raw: string }
  | { readonly tokens: Int32Array }
  | { readonly messages: readonly ChatMessage[] };

export interface PromptFlags {
  /** Text, or `-` for stdin. */
  readonly prompt?: string;
  /** Path of a JSON file. */
  readonly messages?: string;
  readonly raw?: boolean;
  /** Token ids with commas between them. */
  readonly promptTokens?: string;
}

const messagesSchema = z
  .array(
    z.strictObject({
      role: z.enum(['system', 'user', 'assistant']),
      content: z.union([
        z.string(),
        z.array(z.strictObject({ type: z.literal('text'), text: z.string() })),
      ]),
      reasoning_content: z.string().default(''),
    }),
  )
  .min(1);

/**
 * Reads the prompt that the flags name.
 * @throws UsageError when they name none or two, or the file is not what it should be.
 */
export async function readPrompt(flags: PromptFlags, system?: string): Promise<Prompt> {
  const given = [flags.prompt, flags.messages, flags.promptTokens];
  if (given.filter((prompt) => prompt !== undefined).length !== 1)
    throw new UsageError(
      'setting',
      'give one of --prompt TEXT, --messages FILE.json and --prompt-tokens IDS',
    );
  if (flags.raw && flags.messages !== undefined)
    throw new UsageError('combination', '--raw takes a --prompt, not --messages');
  if ((flags.raw || flags.promptTokens !== undefined) && system !== undefined)
    throw new UsageError(
      'combination',
      'the prompt is taken as it is: write the --system text into it',
    );
  if (flags.promptTokens !== undefined) return { tokens: parseTokens(flags.promptTokens) };
  const first: ChatMessage[] = system === undefined ? [] : [{ role: 'system', content: system }];
  if (flags.messages !== undefined)
    return { messages: [...first, ...readMessages(flags.messages)] };
  const content = flags.prompt === '-' ? await readAll(process.stdin) : (flags.prompt ?? '');
  return flags.raw ? { raw: content } : { messages: [...first, { role: 'user', content }] };
}

function parseTokens(list: string): Int32Array {
  const tokens = list.split(',').map(Number);
  if (!tokens.every((token) => Number.isInteger(token) && token >= 0 && token < 2 ** 31))
    throw new UsageError('setting', `--prompt-tokens wants ids like 1,2,3, not "${list}"`);
  return Int32Array.from(tokens);
}

/** A prompt as text, and how the answer to it is read. */
export interface FormattedPrompt {
  /** Empty where there are only tokens. */
  readonly text: string;
  readonly format: Pick<ChatFormat, 'markers' | 'parser'>;
}

/**
 * @param reasoning whether the model is to think first; undefined leaves it to its template
 * @throws ModelError when the model's chat template refuses the messages
 */
export function formatPrompt(
  prompt: Prompt,
  source: TensorSource,
  reasoning?: boolean,
): FormattedPrompt {
  if ('tokens' in prompt) return { text: '', format: answerFormatOf('') };
  if ('raw' in prompt) return { text: prompt.raw, format: answerFormatOf('') };
  const format = chatFormatOfModel(source);
  const options = reasoning === undefined ? {} : { reasoning };
  return { text: format.render(prompt.messages, options), format };
}

function readMessages(file: string): ChatMessage[] {
  const result = messagesSchema.safeParse(parseJson(file));
  if (result.success) return result.data;
  throw new UsageError(
    'file',
    `${file}: expected messages like [{"role": "user", "content": "Hello"}], with roles system, user and assistant`,
  );
}

function parseJson(file: string): unknown {
  let content: string;
  try {
    content = fs.readFileSync(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UsageError(
      'file',
      code === 'ENOENT'
        ? `no such messages file: ${path.resolve(file)}`
        : `cannot read ${file}: ${code}`,
      { cause: error },
    );
  }
  try {
    return JSON.parse(content);
  } catch (error) {
    throw new UsageError('file', `${file} is not JSON`, { cause: error });
  }
}
