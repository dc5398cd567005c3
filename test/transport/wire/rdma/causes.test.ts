import os from 'node:os';
import { expect, test } from 'vitest';
import {
  completionCause,
  rdmaError,
  type Operation,
} from '../../../../transport/wire/rdma/causes.js';

const { errno } = os.constants;

test.each<[Operation, number, string]>([
  ['open', errno.EACCES, 'no permission for /dev/infiniband'],
  ['register', errno.ENOMEM, 'ulimit -l'],
  ['createQueuePair', errno.EBUSY, 'trying again does not help'],
  ['readyToReceive', errno.EINVAL, 'Thunderbolt Bridge'],
  ['readyToReceive', errno.EBUSY, 'restart the machine'],
  ['other', errno.EINVAL, '--transport tcp'],
])('%s failing with %i has a remedy', (operation, number, remedy) => {
  const { code, message } = rdmaError(operation, 'rdma_en5', number);
  expect(code).toBe('rdma');
  expect(message).toMatch(/^rdma_en5 .* \(E[A-Z]+\): /);
  expect(message).toContain(remedy);
  expect(message).not.toContain('\n');
});

test('a number without a name is said as it is', () => {
  expect(rdmaError('open', 'x', 98765).message).toContain('error 98765');
});

test('completions say why they failed', () => {
  expect(completionCause(12)).toContain('does not answer');
  expect(completionCause(10)).toBe('completion status 10');
});
