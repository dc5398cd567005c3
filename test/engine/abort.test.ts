import { expect, test } from 'vitest';
import { textStep } from '../../bench/text-step.js';
import { engineNames } from '../../engine/engine.js';
import { openGguf } from '../../model/gguf/reader.js';
import { openTestEngine } from '../support/engines.js';
import { repositoryPath } from '../support/golden.js';
import { loadStages } from '../support/local-stages.js';

const runs = engineNames.flatMap((engine) => [1, 2].map((threads) => ({ engine, threads })));

test.each(runs)('$engine gives up a step on $threads threads', async ({ engine, threads }) => {
  const source = await openGguf(repositoryPath('models/demo.gguf'));
  const [stage] = await loadStages(openTestEngine(engine, threads), source, [16]);
  if (!stage?.abort) throw new Error('the stage cannot be aborted');
  const none = new Float32Array(0);
  const text = Array.from({ length: 512 }, (_, i) => (i * 7) % 2000);
  const step = textStep(text, { cells: { start: 0, length: 512 }, choices: 'last' });
  const expected = await stage.forward(step, none, none);

  const useless = stage.forward(step, none, none);
  useless.catch(() => undefined);
  // The computation takes some hundred milliseconds from the next turn of the event loop on.
  await new Promise((resolve) => setTimeout(resolve, 5));
  stage.abort();
  await expect(useless).rejects.toThrow(/given up/);
  stage.abort();
  expect(await stage.forward(step, none, none)).toEqual(expected);
  stage.dispose();
  await source.close();
});
