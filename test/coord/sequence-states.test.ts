import { expect, test } from 'vitest';
import { SequenceStates } from '../../coord/sequence-states.js';
import { noState } from '../../step/step.js';
import { TokenText } from '../../step/token-text.js';

/** A text of so many tokens, and its states. */
function statesOf(tokens: number, slots: number): { text: TokenText; states: SequenceStates } {
  const text = new TokenText(new Int32Array(tokens));
  const states = new SequenceStates(
    text,
    Array.from({ length: slots }, (_, i) => 10 + i),
  );
  return { text, states };
}

/** Steps over [from, each end) pass all stages one after the other. */
function pass(states: SequenceStates, from: number, ...ends: number[]): void {
  let first = from;
  for (const end of ends) {
    states.passed(end, states.take(first, end));
    first = end;
  }
}

test('models that keep none go on from anywhere', () => {
  const { states } = statesOf(50, 0);
  expect(states.before(37)).toBe(37);
  expect(states.take(37, 40)).toBeUndefined();
});

test('a step reads what the one before it wrote, and writes somewhere else', () => {
  const { states } = statesOf(200, 2);
  expect(states.before(200)).toBe(0);
  const first = states.take(0, 64);
  expect(first?.read).toBe(noState);
  const second = states.take(64, 128);
  expect(second?.read).toBe(first?.write);
  expect(second?.write).not.toBe(first?.write);
  expect(states.take(128, 200)?.read).toBe(second?.write);
});

test('what a text has lost is not gone on from, also when it has as many tokens again', () => {
  const { text, states } = statesOf(300, 4);
  pass(states, 0, 128, 256, 300);
  expect(states.before(299)).toBe(256);
  text.replace(Int32Array.from({ length: 300 }, (_, i) => Number(i >= 200)));
  expect(states.before(299)).toBe(128);
  pass(states, 128, 300);
  expect(states.before(300)).toBe(300);
});

test('steps that are given up leave what was certain before them', () => {
  const { text, states } = statesOf(100, 3);
  pass(states, 0, 100);
  for (const token of [1, 2, 3, 4, 5, 6]) text.guess(token);
  let at = 100;
  for (const end of [102, 104, 106]) {
    states.take(at, end);
    at = end;
  }
  expect(states.before(106)).toBe(106);
  states.giveUp();
  expect(states.before(106)).toBe(100);
});

test('a wrong guess leaves the states before it', () => {
  const { text, states } = statesOf(100, 4);
  pass(states, 0, 100);
  for (const token of [1, 2, 3, 4]) text.guess(token);
  states.take(100, 102);
  states.take(102, 104);
  text.confirm(1);
  text.confirm(2);
  text.confirm(9);
  expect(states.before(text.certain - 1)).toBe(102);
});

test('while an answer is written, the ends of prompts and some states between stay', () => {
  const { text, states } = statesOf(300, 4);
  pass(states, 0, 128, 300);
  for (let end = 301; end <= 600; end++) {
    text.confirm(7);
    pass(states, end - 1, end);
  }
  expect(states.before(600)).toBe(600);
  expect(states.before(598)).toBe(512);
  expect(states.before(511)).toBe(300);
});

test('on other stages nothing is kept', () => {
  const { states } = statesOf(100, 4);
  pass(states, 0, 64, 100);
  states.forget();
  expect(states.before(100)).toBe(0);
});
