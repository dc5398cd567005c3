import fs from 'node:fs';
import { expect, test } from 'vitest';
import { families } from '../../model/architectures/registry.js';
import { repositoryPath } from '../support/golden.js';

test('the README names the families that there are', () => {
  const readme = fs.readFileSync(repositoryPath('README.md'), 'utf8');
  const [, section = ''] = /\n## Models\n([^]*?)\n## /.exec(readme) ?? [];
  const [, ...rows] = section.split('\n').filter((line) => line.startsWith('| `'));
  const named = rows.flatMap((row) => [...(row.split('|')[1] ?? '').matchAll(/`([^`]+)`/g)]);
  expect(named.map(([, name]) => name).sort()).toEqual(families.map(({ name }) => name).sort());
});
