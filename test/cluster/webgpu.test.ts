import { expect, test } from 'vitest';
import { providerProblem } from '../../engine/onnx/probe.js';
import type { Schedule } from '../../speculative/schedule.js';
import { complete, openTestCluster } from '../support/cluster.js';
import { openDraftModel, speculateWith } from '../support/drafts.js';
import { expectTokensOfDevice } from '../support/device-tokens.js';
import { clearTokens, goldenCases } from '../support/golden.js';

const problem = providerProblem('webgpu');
if (problem) console.warn(`A worker on WebGPU is not tested: ${problem}`);

test.skipIf(problem)(
  'a worker on WebGPU continues what ggml begins, and checks drafts',
  async () => {
    const drafts = await openDraftModel();
    const schedule: Schedule = { mode: 'pipelined', sizes: [3, 4], window: 3 };
    await using cluster = await openTestCluster({
      layers: [12, 4],
      workerEngine: 'onnx',
      workerProvider: 'webgpu',
      speculation: speculateWith(drafts, () => schedule),
    });
    const conversation = cluster.coordinator.conversation();
    for (const golden of goldenCases('demo-q8_0.json').slice(2, 5)) {
      const expected = clearTokens(golden);
      for (const speculate of [false, true]) {
        const options = { speculate };
        const { promptTokens } = golden;
        const count = expected.length;
        const run = complete(conversation, promptTokens, count, undefined, undefined, options);
        const { tokens } = await run;
        expectTokensOfDevice(tokens, golden);
        conversation.reset();
      }
    }
    expect(cluster.coordinator.speculation?.stats?.accepted).toBeGreaterThan(10);
    await drafts.close();
  },
);
