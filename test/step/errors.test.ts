import { expect, test } from 'vitest';
import { ModelError } from '../../model/errors.js';

test('the message of an error is one line, whatever it repeats', () => {
  const cause = new Error('behind it');
  const error = new ModelError('damaged', 'a\u001b[2J\u009b\n  b\r\n\u2028c\u202ed', { cause });
  expect(error.message).toBe('a\\u001b[2J\\u009b b c\\u202ed');
  expect(error).toMatchObject({ name: 'ModelError', code: 'damaged', cause });
  expect(new ModelError('text', 'naïve 字 👩‍👩‍👧‍👦').message).toBe('naïve 字 👩‍👩‍👧‍👦');
  expect(new ModelError('text', 'x'.repeat(1e6)).message).toHaveLength(1001);
});
