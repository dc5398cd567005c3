import { expect, test } from 'vitest';
import { Sequence } from '../../coord/sequence.js';

function sequenceOf(tokens: number): Sequence {
  const sequence = new Sequence({ start: 0, length: 1000 });
  sequence.enter(1);
  sequence.text.replace(new Int32Array(tokens));
  return sequence;
}

/** Computes what is missing. @returns `first-end`, with a p for prompts */
function compute(sequence: Sequence): string[] {
  const end = sequence.text.certain;
  const stretches = sequence.compute(sequence.computed.at, end);
  sequence.computed.at = end;
  return stretches.map(({ first, end, isPrompt }) => `${isPrompt ? 'p' : ''}${first}-${end}`);
}

function decode(sequence: Sequence, tokens: number): void {
  for (let i = 0; i < tokens; i++) {
    sequence.text.confirm(7);
    expect(compute(sequence)).toEqual([`${sequence.text.certain - 1}-${sequence.text.certain}`]);
  }
}

test('on another route a text is computed as it was before, and what is new is a prompt', () => {
  const sequence = sequenceOf(100);
  expect(compute(sequence)).toEqual(['p0-100']);
  decode(sequence, 40);
  sequence.enter(2);
  expect(compute(sequence)).toEqual(['p0-100', '100-140']);
  sequence.text.replace(new Int32Array([...sequence.text.tokens, ...new Int32Array(60)]));
  sequence.enter(3);
  expect(compute(sequence)).toEqual(['p0-100', '100-140', 'p140-200']);
  sequence.enter(4);
  expect(compute(sequence)).toEqual(['p0-100', '100-140', 'p140-200']);
});

test('a prompt goes on where the route was lost that read its beginning', () => {
  const sequence = sequenceOf(500);
  sequence.compute(0, 500);
  sequence.computed.at = 128;
  sequence.enter(2);
  expect(compute(sequence)).toEqual(['p0-500']);
});

test('what a text has lost counts for nothing', () => {
  const sequence = sequenceOf(100);
  compute(sequence);
  decode(sequence, 30);
  sequence.text.truncate(60);
  sequence.text.replace(new Int32Array(200).fill(3, 60));
  expect(compute(sequence)).toEqual(['p60-200']);
  sequence.enter(2);
  expect(compute(sequence)).toEqual(['p0-60', 'p60-200']);
});

test('a few tokens are computed like decoded ones', () => {
  const sequence = sequenceOf(12);
  expect(compute(sequence)).toEqual(['0-12']);
});
