import fs from 'node:fs';
import { expect, test } from 'vitest';
import { generateTypes, typesPath } from '../../../transport/messages/generate.js';

test('the types are those of the schema', () => {
  const kept = fs.readFileSync(typesPath, 'utf8').replaceAll('\r\n', '\n');
  expect(kept, 'run "npm run generate"').toBe(generateTypes());
});
