import { afterEach, expect, test } from 'vitest';
import { causalSegment } from '../../coord/segments.js';
import { readModelSizes } from '../../model/architectures/model.js';
import { openGguf } from '../../model/gguf/reader.js';
import { greedy } from '../../step/sampling.js';
import type { Step } from '../../step/step.js';
import { readResult } from '../../transport/protocol/steps.js';
import { openTestEngine } from '../support/engines.js';
import { clearTokens, goldenCases, repositoryPath } from '../support/golden.js';
import { closeAll, closeLater } from '../transport/support/sockets.js';
import { describedShardMessage, type TestCoordinator } from './support/coordinator.js';
import { ownEnd } from './support/own-end.js';
import { TestWorker } from './support/worker.js';

afterEach(closeAll);

const [golden] = goldenCases('demo-q8_0.json');
if (!golden) throw new Error('no golden case');
const { promptTokens } = golden;
const expected = clearTokens(golden).slice(0, 24);

/** The step that computes what of a text is new, and chooses what follows. */
function stepOf(id: number, text: readonly number[], first: number): Step {
  const cells = { start: 0, length: 256 };
  const count = text.length - first;
  const [sampling, choices] = [greedy, 'last'] as const;
  const segment = causalSegment({
    ...{ sequence: 1, first, count, cells, choices, sampling },
    text: Int32Array.from(text),
  });
  return { id, epoch: 1, segments: [segment] };
}

async function linkAll(coordinator: TestCoordinator, port: number, last: number): Promise<void> {
  for (let stage = 1; stage <= last; stage++) {
    const address = { host: '127.0.0.1', port, stage: stage + 1, codec: 'f32' };
    const next = { ...address, transport: 'auto', rdmaQueue: '' };
    coordinator.send('link', { stage, epoch: 1, ...(stage < last ? { next } : {}) });
    await coordinator.next('linked');
  }
}

test('stages of one worker that were sent their shards give the tokens of llama.cpp', async () => {
  const source = await openGguf(repositoryPath('models/demo.gguf'));
  closeLater(() => source.close());
  const { layers, hiddenSize } = readModelSizes(source);
  await using worker = await TestWorker.start({ engine: openTestEngine('ggml') });
  const coordinator = await worker.connect();
  const splits = [0, 5, 6, layers];
  for (const [i, endLayer] of splits.slice(1).entries()) {
    const ends = { embedding: i === 0, head: endLayer === layers };
    const shard = { firstLayer: splits[i] ?? 0, endLayer, ...ends };
    await coordinator.load(
      { ...(await describedShardMessage(source, shard, i + 1)), maxStepRows: 256 },
      source,
    );
  }
  await linkAll(coordinator, worker.port, 3);
  const own = ownEnd(hiddenSize);
  await own.link(1, { host: '127.0.0.1', port: worker.port, stage: 1, codec: 'f32' });
  const text = [...promptTokens];
  for (let id = 1, first = 0; text.length < promptTokens.length + expected.length; id++) {
    await own.submit(stepOf(id, text, first));
    first = text.length;
    const { results } = readResult(await coordinator.next('result'));
    text.push(results[0]?.choices[0] ?? -1);
  }
  expect(text.slice(promptTokens.length)).toEqual(expected);
});
