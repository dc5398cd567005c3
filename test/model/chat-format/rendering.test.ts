import { describe, expect, test } from 'vitest';
import { chatFormatOf, chatFormatOfModel } from '../../../model/chat-format/chat-format.js';
import type { ChatMessage, Tool } from '../../../model/chat-format/message.js';
import { openGguf } from '../../../model/gguf/reader.js';
import { goldenCases, goldenModels, repositoryPath } from '../../support/golden.js';
import { llamaCppChat } from '../../support/llama-cpp-chat.js';

const specials = { bos: '<s>', eos: '</s>' };
const user = (content: ChatMessage['content']): ChatMessage => ({ role: 'user', content });
const assistant = (content: string): ChatMessage => ({ role: 'assistant', content });
const system = (content: string): ChatMessage => ({ role: 'system', content });
const hello = user('Hello there.');
const conversation = [hello, assistant('Hi!'), user('How are you?')];

const tool: Tool = {
  type: 'function',
  function: {
    name: 'look_up',
    description: 'Looks a word up.',
    parameters: { type: 'object', properties: { word: { type: 'string' } } },
  },
};

/** Each message with its role. */
const plain =
  '{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}>{% endif %}';

describe('a golden model', () => {
  test.each(goldenModels)('$model gives the prompts of $golden', async ({ model, golden }) => {
    const source = await openGguf(repositoryPath(`models/${model}`));
    const format = chatFormatOfModel(source);
    await source.close();
    const turns = /<\|im_start\|>(system|user|assistant)\n(.*?)<\|im_end\|>\n/gs;
    for (const { prompt } of goldenCases(golden)) {
      const messages = [...prompt.matchAll(turns)].map(([, role, content]) => ({
        role: role as ChatMessage['role'],
        content: content as string,
      }));
      expect(messages.length).toBeGreaterThan(0);
      expect(format.render(messages)).toBe(prompt);
      expect(format.render(messages, { addGenerationPrompt: false })).toBe(
        prompt.replace(/<\|im_start\|>assistant\n$/, ''),
      );
    }
  });
});

describe('a template renders like libllama', () => {
  const turn = (begin: string, end: string) =>
    `{% for m in messages %}${begin.replace('ROLE', '{{ m.role }}')}{{ m.content | trim }}${end}{% endfor %}`;
  const asked = (text: string) => `{% if add_generation_prompt %}${text}{% endif %}`;
  const templates: Record<string, string | undefined> = {
    chatml: undefined,
    llama3:
      turn('<|start_header_id|>ROLE<|end_header_id|>\n\n', '<|eot_id|>') +
      asked('<|start_header_id|>assistant<|end_header_id|>\n\n'),
    zephyr: turn('<|ROLE|>\n', '<|endoftext|>\n') + asked('<|assistant|>\n'),
    phi3: turn('<|ROLE|>\n', '<|end|>\n') + asked('<|assistant|>\n'),
    gemma:
      "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" +
      "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n{% endfor %}" +
      asked('<start_of_turn>model\n'),
  };
  const lists = [[hello], conversation, [system('Be brief.'), ...conversation]];

  test.each(Object.entries(templates))('in the style of %s', (style, template) => {
    const format = chatFormatOf(template, specials);
    for (const messages of style === 'gemma' ? lists.slice(0, 2) : lists)
      for (const addGenerationPrompt of [true, false])
        expect(format.render(messages, { addGenerationPrompt })).toBe(
          llamaCppChat(style, messages, addGenerationPrompt),
        );
  });
});

describe('a system text', () => {
  const expected = '[user] Be brief.\nHello there.\n>';

  test('goes into the first turn where the template refuses it', () => {
    const refusing = `{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}${plain}`;
    const format = chatFormatOf(refusing, specials);
    expect(format.render([system('Be brief.'), hello])).toBe(expected);
    expect(
      format.render([system('Be brief.'), user([{ type: 'text', text: 'Hello there.' }])]),
    ).toBe(expected);
  });

  test('or leaves it out', () => {
    const ignoring = plain.replace('in messages', "in messages if m.role != 'system'");
    expect(chatFormatOf(ignoring, specials).render([system('Be brief.'), hello])).toBe(expected);
  });

  test('stays where it is otherwise, even when it is empty', () => {
    const format = chatFormatOf(
      `{% set text = messages[0].content if messages[0].role == 'system' else false %}{% if text != false %}<<{{ text }}>>{% endif %}`,
      specials,
    );
    expect(format.render([system('Be brief.'), hello])).toBe('<<Be brief.>>');
    expect(format.render([system(''), hello])).toBe('<<>>');
    expect(format.render([hello])).toBe('');
  });
});

describe('content', () => {
  const parts = user([
    { type: 'text', text: 'one' },
    { type: 'text', text: 'two' },
  ]);

  test('of several parts is a text with lines', () => {
    expect(chatFormatOf(plain, specials).render([parts])).toBe('[user] one\ntwo\n>');
  });

  test('is a list of parts where the template goes through one', () => {
    const going = chatFormatOf(
      "{% for m in messages %}{% for part in m.content | selectattr('type', 'equalto', 'text') %}({{ part.text }}){% endfor %}{% endfor %}",
      specials,
    );
    expect(going.render([parts, assistant('three')])).toBe('(one)(two)(three)');
  });
});

describe('a tool call', () => {
  const call = (given: string): ChatMessage => ({
    ...assistant(''),
    tool_calls: [{ type: 'function', function: { name: 'look_up', arguments: given } }],
  });
  const calls = (shown: string) =>
    `{% for m in messages %}{% for c in m.tool_calls %}{{ c.function.name }}: ${shown}{% endfor %}{% endfor %}`;

  test('has arguments that the template can go through', () => {
    const format = chatFormatOf(
      calls(
        '{% for name, value in c.function.arguments | items %}{{ name }}={{ value }};{% endfor %}',
      ),
      specials,
    );
    expect(format.render([hello, call('{"word":"day","count":2}')])).toBe(
      'look_up: word=day;count=2;',
    );
    const json = chatFormatOf(calls('{{ c.function.arguments | tojson }}'), specials);
    expect(json.render([hello, call('{"word":"day"}')])).toBe('look_up: {"word": "day"}');
  });

  test('keeps the text of its arguments where the template wants text', () => {
    const format = chatFormatOf(calls("{{ 'with ' ~ c.function.arguments }}"), specials);
    expect(format.render([hello, call('{"word":"day"}')])).toBe('look_up: with {"word":"day"}');
  });
});

describe('a template is given', () => {
  const render = (template: string, options = {}) =>
    chatFormatOf(template, specials).render([hello], options);

  test('the tokens, tools, documents and variables', () => {
    expect(render('{{ bos_token }}{{ eos_token }}')).toBe('<s></s>');
    expect(render('{{ tools[0].function.name }}', { tools: [tool] })).toBe('look_up');
    expect(render('{% if tools is defined %}some{% else %}none{% endif %}')).toBe('none');
    expect(render('{{ documents[0].title }}', { documents: [{ title: 'Days' }] })).toBe('Days');
    expect(render('{{ mood }}', { variables: { mood: 'fine' } })).toBe('fine');
  });

  test('the date', () => {
    const today = new Date();
    expect(render("{{ strftime_now('%Y-%m-%d %% %q') }}")).toMatch(
      new RegExp(`^${today.getFullYear()}-\\d\\d-\\d\\d % %q$`),
    );
    expect(render('{{ date_string }}')).toMatch(/^\d\d [A-Z][a-z]{2} \d{4}$/);
  });

  test('no lines that only blocks are on', () => {
    expect(render('a\n  {% if true %}\nb\n{% endif %}\nc')).toBe('a\nb\nc');
  });

  test('what Python has', () => {
    const gears = '{% set gears = {512: "few", 16384: "many", 9: "none"} %}';
    expect(render(`${gears}{{ gears[512] }} {{ gears.get(1, 'other') }}`)).toBe('few other');
    expect(
      render(
        `${gears}{% for size, name in gears | dictsort %}{{ size + 1 }} {{ name }} {% endfor %}`,
      ),
    ).toBe('10 none 513 few 16385 many ');
    expect(
      render(
        "{% set list = [] %}{% set _ = list.append('a') %}{{ list.pop() }}{{ list | length }}",
      ),
    ).toBe('a0');
    expect(render("{{ '\nab\n'.strip('\n') }}{{ ' b'.lstrip('x') }}")).toBe('ab b');
    expect(render('{% for a, b in [(1, 2)] %}{{ a + b }}{% endfor %}')).toBe('3');
    expect(
      render("{{ nothing + 'a' }}{% for a in nothing %}b{% endfor %}{{ nothing | length }}"),
    ).toBe('a0');
    expect(render("{{ {'a': [1, true, none, 'x']} | string }}")).toBe(
      "{'a': [1, True, None, 'x']}",
    );
    expect(render("{{ false | string }} {{ ['a', true] | map('upper') | join }}")).toBe(
      'False ATRUE',
    );
    expect(
      render("{{ '' == false }}{{ 1 == true }}{{ [1, 'a'] == [1, 'a'] }}{{ [1] == [1, 2] }}"),
    ).toBe('falsetruetruefalse');
  });
});

describe('reasoning', () => {
  const switched = `${plain}{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}`;
  const always = `${plain}{% if add_generation_prompt %}<think>{% endif %}{% if '</think>' in messages[0].content %}{% endif %}`;

  test('is the habit of the template, unless it is switched', () => {
    const format = chatFormatOf(switched, specials);
    expect(format.render([hello])).toBe('[user] Hello there.\n>');
    expect(format.render([hello], { reasoning: true })).toBe('[user] Hello there.\n>');
    expect(format.render([hello], { reasoning: false })).toBe(
      '[user] Hello there.\n><think></think>',
    );
  });

  test('cannot be switched where the template cannot', () => {
    expect(() => chatFormatOf(always, specials).render([hello], { reasoning: false })).toThrow(
      /cannot switch reasoning off: leave out --reasoning off/,
    );
    expect(() => chatFormatOf(plain, specials).checkReasoning(true)).toThrow(/does not reason/);
    expect(chatFormatOf(always, specials).render([hello], { reasoning: true })).toMatch(/<think>$/);
    expect(chatFormatOf(plain, specials).render([hello], { reasoning: false })).toMatch(/>$/);
  });

  test('of earlier answers is a part of them where the template has it so', () => {
    const format = chatFormatOf(
      "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for part in m.content %}{% if part.type == 'thinking' %}[{{ part.thinking }}]{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}|{% endfor %}",
      specials,
    );
    expect(format.render([hello, { ...assistant('Hi!'), reasoning_content: 'They greet.' }])).toBe(
      'Hello there.|[They greet.]Hi!|',
    );
  });

  test('of earlier answers is given apart', () => {
    const format = chatFormatOf(
      '{{ messages[1].reasoning_content }}|{{ messages[1].content }}',
      specials,
    );
    expect(format.render([hello, { ...assistant('Hi!'), reasoning_content: 'They greet.' }])).toBe(
      'They greet.|Hi!',
    );
    expect(format.render([hello, assistant('Hi!')])).toBe('|Hi!');
  });
});

test('a template fails in one line', () => {
  expect(() => chatFormatOf('{% if %}', specials)).toThrow(/chat template failed/);
  const refusing = chatFormatOf("{{ raise_exception('only two turns') }}", specials);
  expect(() => refusing.render([hello])).toThrow(/failed: .*only two turns/);
});
