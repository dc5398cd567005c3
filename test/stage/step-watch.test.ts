import { expect, test } from 'vitest';
import { StepWatch } from '../../stage/step-watch.js';
import { Turns } from '../../stage/turns.js';

const isLooking = () => process.getActiveResourcesInfo().includes('Immediate');
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test('a stage that waits looks for its step, but not for ever', async () => {
  const watch = new StepWatch(new Turns());
  watch.begin();
  expect(isLooking()).toBe(true);
  while (isLooking()) await pause(1);
  watch.end();
});

test('nobody looks while the device computes', async () => {
  const turns = new Turns();
  const watch = new StepWatch(turns);
  let endTurn: () => void = () => undefined;
  const turn = turns.take(() => new Promise<void>((resolve) => (endTurn = resolve)));
  watch.begin();
  await new Promise((resolve) => setImmediate(resolve));
  expect(isLooking()).toBe(false);
  endTurn();
  await turn;
});
