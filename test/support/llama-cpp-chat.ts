import koffi from 'koffi';
import type { ChatMessage } from '../../model/chat-format/message.js';
import { loadNativeLibraries } from '../../model/native/libraries.js';

const messageType = koffi.struct({ role: 'str', content: 'str' });

/**
 * What llama.cpp makes of messages itself.
 * @param style one of its names for formats
 */
export function llamaCppChat(
  style: string,
  messages: readonly ChatMessage[],
  addGenerationPrompt: boolean,
): string {
  const { llama } = loadNativeLibraries();
  const apply = llama.func('llama_chat_apply_template', 'int', [
    'str',
    koffi.pointer(messageType),
    'size_t',
    'bool',
    'void*',
    'int',
  ]);
  const bytes = Buffer.alloc(4096);
  const length = apply(
    style,
    messages.map(({ role, content }) => ({ role, content })),
    messages.length,
    addGenerationPrompt,
    bytes,
    bytes.length,
  ) as number;
  if (length < 0) throw new Error(`llama.cpp does not know ${style}`);
  return bytes.toString('utf8', 0, length);
}
