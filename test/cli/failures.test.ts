import { afterEach, expect, test, vi } from 'vitest';
import { UsageError } from '../../app/errors.js';
import { SpawnError } from '../../app/spawn.js';
import { describeFailure, reportFailure } from '../../cli/failures.js';
import { CoordinatorError } from '../../coord/errors.js';
import { EngineError } from '../../engine/engine.js';
import { ModelError } from '../../model/errors.js';
import { DaisychainError } from '../../step/errors.js';
import { TransportError } from '../../transport/wire/errors.js';
import { WorkerError } from '../../worker/errors.js';

afterEach(() => {
  vi.restoreAllMocks();
});

test.each([
  new UsageError('setting', 'no model'),
  new SpawnError('failed', 'no model'),
  new CoordinatorError('plan', 'no model'),
  new EngineError('memory', 'no model'),
  new ModelError('file', 'no model'),
  new TransportError('port', 'no model'),
  new WorkerError('disk', 'no model'),
])('$name is meant for users', (error) => {
  expect(error).toBeInstanceOf(DaisychainError);
  expect(describeFailure(error)).toBe('daisychain: no model');
});

test('anything else is unexpected, and one line too', () => {
  expect(describeFailure(new TypeError('a\n  b'))).toBe(
    'daisychain: unexpected error: a b (run with --log-level debug for details)',
  );
  expect(describeFailure('a')).toContain('unexpected error: a ');
});

test('what the user gave ends with code 2, other failures with 1; the log has the cause', () => {
  const written = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  const debug = vi.fn();
  const cause = new Error('EACCES');
  const usage = new UsageError('file', 'cannot read it', { cause });
  expect(reportFailure(usage, { debug })).toBe(2);
  expect(reportFailure(new EngineError('memory', 'no room'))).toBe(1);
  expect(written.mock.calls).toEqual([['daisychain: cannot read it\n'], ['daisychain: no room\n']]);
  expect(debug).toHaveBeenCalledWith(expect.stringMatching(/cannot read it[^]*EACCES/));
});
