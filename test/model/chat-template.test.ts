import { describe, expect, test } from 'vitest';
import { ChatTemplate, type ChatMessage } from '../../model/chat-template.js';
import { openGguf } from '../../model/gguf/reader.js';
import { goldenCases, goldenModels, repositoryPath } from '../support/golden.js';

describe('the chat template', () => {
  const metadata = (template?: string) =>
    new Map<string, string | number | string[]>([
      ['tokenizer.ggml.tokens', ['<s>', '</s>']],
      ['tokenizer.ggml.bos_token_id', 0],
      ...(template === undefined
        ? []
        : [['tokenizer.chat_template', template] as [string, string]]),
    ]);
  const message = { role: 'user', content: 'Hi' } as const;

  test.each(goldenModels)('of $model gives the prompts of $golden', async ({ model, golden }) => {
    const source = await openGguf(repositoryPath(`models/${model}`));
    const template = new ChatTemplate(source);
    await source.close();
    const turns = /<\|im_start\|>(system|user|assistant)\n(.*?)<\|im_end\|>\n/gs;
    for (const { prompt } of goldenCases(golden)) {
      const messages = [...prompt.matchAll(turns)].map(([, role, content]) => ({
        role: role as ChatMessage['role'],
        content: content as string,
      }));
      expect(messages.length).toBeGreaterThan(0);
      expect(template.render(messages, { addGenerationPrompt: true })).toBe(prompt);
      expect(template.render(messages, { addGenerationPrompt: false })).toBe(
        prompt.replace(/<\|im_start\|>assistant\n$/, ''),
      );
    }
  });

  test('knows the date, and that there are no tools', () => {
    const template = new ChatTemplate({
      metadata: metadata("{{ strftime_now('%Y') }}{% if tools is defined and tools %}t{% endif %}"),
    });
    expect(template.render([message], { addGenerationPrompt: true })).toMatch(/^\d{4}$/);
  });

  test('renders messages, tokens and variables', () => {
    const template = new ChatTemplate({
      metadata: metadata(
        '{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}{% if add_generation_prompt %}>{% endif %}{{ mood }}',
      ),
    });
    const variables = { mood: '!' };
    expect(template.render([message], { addGenerationPrompt: true, variables })).toBe(
      '<s>[user] Hi>!',
    );
    expect(template.render([message], { addGenerationPrompt: false })).toBe('<s>[user] Hi');
  });

  test('fails in one line', () => {
    expect(() => new ChatTemplate({ metadata: metadata() })).toThrow(/no chat template: use --raw/);
    expect(() => new ChatTemplate({ metadata: metadata('{% if %}') })).toThrow(
      /chat template failed/,
    );
    const refusing = new ChatTemplate({
      metadata: metadata("{{ raise_exception('only two turns') }}"),
    });
    expect(() => refusing.render([message], { addGenerationPrompt: true })).toThrow(
      /failed: .*only two turns/,
    );
  });
});
