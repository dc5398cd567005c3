import fs from 'node:fs';
import path from 'node:path';
import { text as readAll } from 'node:stream/consumers';
import { z } from 'zod';
import { UsageError } from '../app/errors.js';
import { ChatTemplate, type ChatMessage } from '../model/chat-template.js';
import type { TensorSource } from '../model/tensor-source.js';

/** What to answer: plain text for the model as it is, or messages for its chat template. */
export type Prompt = { readonly raw: string } | { readonly messages: readonly ChatMessage[] };

export interface PromptFlags {
  /** Text, or `-` for stdin. */
  readonly prompt?: string;
  /** Path of a JSON file. */
  readonly messages?: string;
  readonly raw?: boolean;
}

const messagesSchema = z
  .array(z.strictObject({ role: z.enum(['system', 'user', 'assistant']), content: z.string() }))
  .min(1);

/**
 * Reads the prompt that the flags name.
 * @throws UsageError when they name none or two, or the file is not what it should be.
 */
export async function readPrompt(flags: PromptFlags, system?: string): Promise<Prompt> {
  if ((flags.prompt === undefined) === (flags.messages === undefined))
    throw new UsageError('setting', 'give either --prompt TEXT or --messages FILE.json');
  if (flags.raw && flags.messages !== undefined)
    throw new UsageError('combination', '--raw takes a --prompt, not --messages');
  if (flags.raw && system !== undefined)
    throw new UsageError(
      'combination',
      '--raw takes the prompt as it is: write the --system text into it',
    );
  const first: ChatMessage[] = system === undefined ? [] : [{ role: 'system', content: system }];
  if (flags.messages !== undefined)
    return { messages: [...first, ...readMessages(flags.messages)] };
  const content = flags.prompt === '-' ? await readAll(process.stdin) : (flags.prompt ?? '');
  return flags.raw ? { raw: content } : { messages: [...first, { role: 'user', content }] };
}

/** @throws ModelError when messages are given and the model has no chat template, or it refuses them. */
export function promptText(prompt: Prompt, source: TensorSource): string {
  if ('raw' in prompt) return prompt.raw;
  return new ChatTemplate(source).render([...prompt.messages], { addGenerationPrompt: true });
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
