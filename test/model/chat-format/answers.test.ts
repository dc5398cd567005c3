import { describe, expect, test } from 'vitest';
import { answerFormatOf } from '../../../model/chat-format/answer-format.js';
import type { AnswerEvent, AnswerParser } from '../../../model/chat-format/answer.js';
import type { Tool } from '../../../model/chat-format/message.js';
import { Random } from '../../support/random.js';

const tools: Tool[] = ['look_up', 'add'].map((name) => ({
  type: 'function',
  function: {
    name,
    parameters: {
      type: 'object',
      properties: { word: { type: 'string' }, a: { type: 'integer' }, list: { type: 'array' } },
    },
  },
}));

const text = (said: string): AnswerEvent => ({ type: 'text', text: said });
const reasoning = (thought: string): AnswerEvent => ({ type: 'reasoning', text: thought });
const call = (name: string, given: string, id?: string): AnswerEvent => ({
  type: 'tool-call',
  name,
  ...(id === undefined ? {} : { id }),
  arguments: given,
});

interface Sample {
  readonly style: string;
  /** Just enough of a template to be recognised. */
  readonly template: string;
  readonly prompt?: string;
  readonly answer: string;
  readonly events: readonly AnswerEvent[];
}

const hermes = '<tool_call> </tool_call> <think> </think>';
const harmony = '<|channel|>';
const deepseek = '<｜tool▁calls▁begin｜> </think>';
const llama = '<|start_header_id|> {"name": …, "parameters": …}';
const day = '{"word": "day"}';

const samples: Sample[] = [
  {
    style: 'text alone',
    template: '',
    answer: ' <think> a </think>\n',
    events: [text(' <think> a </think>\n')],
  },
  {
    style: 'Hermes: reasoning, text and two calls',
    template: hermes,
    answer: `<think>\nA day < a week.\n</think>\n\nI look.\n<tool_call>\n{"name": "look_up", "arguments": ${day}}\n</tool_call>\n<tool_call>{"name":"add","arguments":{"a":12345678901234567890}}</tool_call>`,
    events: [
      reasoning('A day < a week.'),
      text('I look.'),
      call('look_up', day),
      call('add', '{"a":12345678901234567890}'),
    ],
  },
  {
    style: 'Hermes: a marker within an argument',
    template: hermes,
    answer: '<tool_call>{"name": "look_up", "arguments": {"word": "\\"</tool_call>"}}</tool_call>',
    events: [call('look_up', '{"word": "\\"</tool_call>"}')],
  },
  {
    style: 'Hermes: what is no call',
    template: hermes,
    answer: 'So: <tool_call>{"name": look_up}</tool_call> it is <tool',
    events: [text('So: <tool_call>{"name": look_up}</tool_call> it is <tool')],
  },
  {
    style: 'Hermes: begun within reasoning',
    template: hermes,
    prompt: 'What? <think>\n',
    answer: 'Hm.\n\nWell.</think>A day.\n',
    events: [reasoning('Hm.\n\nWell.'), text('A day.\n')],
  },
  {
    style: 'Qwen3-Coder',
    template: hermes,
    answer:
      '<tool_call>\n<function=look_up>\n<parameter=word>\n12\n</parameter>\n<parameter=a>\n12\n</parameter>\n<parameter=list>\n["x", {"y": 1}]\n</parameter>\n<parameter=other>\ntwo\nlines "quoted"\n</parameter>\n</function>\n</tool_call>',
    events: [
      call(
        'look_up',
        '{"word":"12","a":12,"list":["x", {"y": 1}],"other":"two\\nlines \\"quoted\\""}',
      ),
    ],
  },
  {
    style: 'GLM',
    template: hermes,
    answer:
      '<think></think>\nI add.\n<tool_call>add\n<arg_key>a</arg_key>\n<arg_value>5</arg_value>\n<arg_key>word</arg_key>\n<arg_value>5</arg_value>\n</tool_call>',
    events: [text('I add.'), call('add', '{"a":5,"word":"5"}')],
  },
  {
    style: 'Seed',
    template: '<seed:tool_call> <seed:think> </seed:think>',
    answer:
      '<seed:think>Hm</seed:think><seed:tool_call><function=add><parameter=a>1</parameter></function></seed:tool_call>',
    events: [reasoning('Hm'), call('add', '{"a":1}')],
  },
  {
    style: 'MiniMax',
    template: '<minimax:tool_call> <think> </think>',
    prompt: '<think>\n',
    answer:
      'Hm.\n</think>\n\n<minimax:tool_call>\n<invoke name="look_up">\n<parameter name="word">day</parameter>\n</invoke>\n<invoke name="add">\n<parameter name="a">1</parameter>\n</invoke>\n</minimax:tool_call>',
    events: [reasoning('Hm.'), call('look_up', '{"word":"day"}'), call('add', '{"a":1}')],
  },
  {
    style: 'DeepSeek V3.2',
    template: '｜DSML｜ </think>',
    answer:
      'So.\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name="add">\n<｜DSML｜parameter name="a" string="false">1</｜DSML｜parameter>\n<｜DSML｜parameter name="b" string="true">2</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>',
    events: [text('So.'), call('add', '{"a":1,"b":"2"}')],
  },
  {
    style: 'DeepSeek V3',
    template: deepseek,
    answer: `<think>Hm</think>So.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>look_up\n\`\`\`json\n${day}\n\`\`\`<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n\`\`\`json\n{}\n\`\`\`<｜tool▁call▁end｜><｜tool▁calls▁end｜>`,
    events: [reasoning('Hm'), text('So.'), call('look_up', day), call('add', '{}')],
  },
  {
    style: 'DeepSeek V3.1, without an end',
    template: deepseek,
    answer: `<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>look_up<｜tool▁sep｜>${day}<｜tool▁call▁end｜>`,
    events: [call('look_up', day)],
  },
  {
    style: 'Kimi',
    template: '<|tool_calls_section_begin|>',
    answer: `I look. <|tool_calls_section_begin|><|tool_call_begin|>functions.look_up:0<|tool_call_argument_begin|>${day}<|tool_call_end|><|tool_call_begin|>functions.add:1<|tool_call_argument_begin|>{"a": 1}<|tool_call_end|><|tool_calls_section_end|>`,
    events: [
      text('I look.'),
      call('look_up', day, 'functions.look_up:0'),
      call('add', '{"a": 1}', 'functions.add:1'),
    ],
  },
  {
    style: 'Command R',
    template: '<|START_THINKING|><|END_THINKING|><|START_ACTION|>',
    answer: `<|START_THINKING|>Hm<|END_THINKING|><|START_ACTION|>[\n{"tool_call_id": "0", "tool_name": "look_up", "parameters": ${day}}\n]<|END_ACTION|>`,
    events: [reasoning('Hm'), call('look_up', day)],
  },
  {
    style: 'Llama 3',
    template: llama,
    answer: `{"name": "look_up", "parameters": ${day}}`,
    events: [call('look_up', day)],
  },
  {
    style: 'Llama 3: JSON that is no call',
    template: llama,
    answer: '{"names": ["look_up"]}\n',
    events: [text('{"names": ["look_up"]}\n')],
  },
  {
    style: 'Llama 3, with its tag',
    template: llama,
    answer: `<|python_tag|>{"type": "function", "name": "look_up", "parameters": ${day}}`,
    events: [call('look_up', day)],
  },
  {
    style: 'Mistral, a list',
    template: '[TOOL_CALLS]',
    answer: `[TOOL_CALLS] [{"name": "look_up", "arguments": ${day}, "id": "abc"}, {"name": "add", "arguments": {"list": [1, "]"]}}]`,
    events: [call('look_up', day, 'abc'), call('add', '{"list": [1, "]"]}')],
  },
  {
    style: 'Mistral, one by one',
    template: '[TOOL_CALLS] [THINK] [/THINK]',
    answer: `[THINK]Hm[/THINK]So[TOOL_CALLS]look_up[ARGS]${day}[TOOL_CALLS]add[CALL_ID]x1[ARGS]{"a": 1}`,
    events: [reasoning('Hm'), text('So'), call('look_up', day), call('add', '{"a": 1}', 'x1')],
  },
  {
    style: 'gpt-oss',
    template: harmony,
    prompt: '<|start|>user<|message|>What?<|end|><|start|>assistant',
    answer:
      '<|channel|>analysis<|message|>Hm < 3.<|end|><|start|>assistant<|channel|>final<|message|>A day.<|return|>',
    events: [reasoning('Hm < 3.'), text('A day.')],
  },
  {
    style: 'gpt-oss: calls',
    template: harmony,
    prompt: '<|start|>assistant',
    answer: `<|channel|>commentary<|message|>I look.<|end|><|start|>assistant<|channel|>commentary to=functions.look_up <|constrain|>json<|message|>${day}<|call|><|start|>assistant to=functions.add<|channel|>commentary<|message|>{}`,
    events: [text('I look.'), call('look_up', day), call('add', '{}')],
  },
  {
    style: 'gpt-oss: begun within a message',
    template: harmony,
    prompt: '<|start|>assistant<|channel|>analysis<|message|>',
    answer: 'Hm.<|end|><|start|>assistant<|channel|>final<|message|>A day.',
    events: [reasoning('Hm.'), text('A day.')],
  },
  {
    style: 'gpt-oss: messages without an end',
    template: harmony,
    answer:
      '<|channel|>final<|message|>A day.<|channel|>analysis<|message|>Hm.<|start|>assistant<|channel|>final<|message|>So.',
    events: [text('A day.'), reasoning('Hm.'), text('So.')],
  },
  {
    style: 'gpt-oss: without a header',
    template: harmony,
    answer: 'A day.',
    events: [text('A day.')],
  },
];

const parserOf = ({ template, prompt = '' }: Sample) =>
  answerFormatOf(template).parser(prompt, { tools });

/** What a parser makes of pieces, neighbours put together. */
function read(parser: AnswerParser, pieces: readonly string[]): AnswerEvent[] {
  const events = [...pieces.flatMap((piece) => parser.push(piece)), ...parser.end()];
  return events.reduce<AnswerEvent[]>((merged, event) => {
    const last = merged.at(-1);
    if (event.type === 'tool-call' || last?.type !== event.type) return [...merged, event];
    return [...merged.slice(0, -1), { type: event.type, text: last.text + event.text }];
  }, []);
}

function randomCuts(whole: string, random: Random): string[] {
  const pieces: string[] = [];
  for (let at = 0; at < whole.length;) {
    const next = at + random.between(1, 9);
    pieces.push(whole.slice(at, next));
    at = next;
  }
  return pieces;
}

describe('answers', () => {
  test.each(samples)('of $style are taken apart', (sample) => {
    expect(read(parserOf(sample), [sample.answer])).toEqual(sample.events);
  });

  test.each(samples)('of $style are the same however they are cut', (sample) => {
    expect(read(parserOf(sample), [...sample.answer])).toEqual(sample.events);
    for (let seed = 0; seed < 20; seed++)
      expect(read(parserOf(sample), randomCuts(sample.answer, new Random(seed)))).toEqual(
        sample.events,
      );
  });

  test.each(samples)('of $style may end anywhere', (sample) => {
    for (let length = 0; length < sample.answer.length; length++) {
      const begin = sample.answer.slice(0, length);
      const whole = read(parserOf(sample), [begin]);
      expect(read(parserOf(sample), [...begin])).toEqual(whole);
      const calls = whole.filter(({ type }) => type === 'tool-call');
      expect(sample.events).toEqual(expect.arrayContaining(calls));
    }
  });

  test('of any kind are the same however they are cut', () => {
    const random = new Random(7);
    const bits = [
      ...'{}[]" \na<',
      ...samples.flatMap(({ answer }) => answer.match(/<[^>]*>|\[\w+\]|"\w+":|\w+/g) ?? []),
    ];
    for (const sample of samples)
      for (let round = 0; round < 30; round++) {
        const answer = Array.from(
          { length: 15 },
          () => bits[random.between(0, bits.length - 1)],
        ).join('');
        const whole = read(parserOf(sample), [answer]);
        expect(read(parserOf(sample), [...answer]), answer).toEqual(whole);
        expect(read(parserOf(sample), randomCuts(answer, random)), answer).toEqual(whole);
      }
  });

  test('hold back only what could begin a marker', () => {
    const parser = answerFormatOf(hermes).parser('', { tools });
    expect(parser.push('A day <')).toEqual([text('A day')]);
    expect(parser.push('thin')).toEqual([]);
    expect(parser.push('g')).toEqual([text(' <thing')]);
    expect(parser.push('> and {')).toEqual([text('> and {')]);
    const bare = answerFormatOf(llama).parser('', { tools });
    expect(bare.push('{"na')).toEqual([]);
    expect(bare.push('ture": ')).toEqual([text('{"nature":')]);
  });

  test('have no calls where there are no tools', () => {
    const answer = `<tool_call>{"name": "look_up", "arguments": ${day}}</tool_call>`;
    expect(read(answerFormatOf(hermes).parser(''), [answer])).toEqual([text(answer)]);
  });
});
