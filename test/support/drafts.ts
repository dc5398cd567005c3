import { DraftModel, draftChunk } from '../../coord/draft-model.js';
import type { SpeculationOptions } from '../../coord/speculator.js';
import { openGgmlEngine } from '../../engine/ggml/ggml-engine.js';
import { openGguf } from '../../model/gguf/reader.js';
import { Turns } from '../../stage/turns.js';
import type { Schedule } from '../../speculative/schedule.js';
import { repositoryPath } from './golden.js';

/** The demo model's draft, in this process. */
export async function openDraftModel(cells = 512): Promise<DraftModel> {
  const source = await openGguf(repositoryPath('models/demo-draft.gguf'));
  try {
    const stage = await openGgmlEngine({ device: 'cpu', threads: 1 }).load({
      source,
      shard: { firstLayer: 0, endLayer: 2, embedding: true, head: true },
      cells,
      kvType: 'f16',
      maxStepRows: draftChunk,
    });
    return await DraftModel.open(stage, 'demo-draft.gguf', new Turns(), { cellsEach: cells });
  } finally {
    await source.close();
  }
}

/** @param schedule instead of what the planner would do */
export function speculateWith(
  drafts: DraftModel,
  schedule?: () => Schedule,
): () => Promise<SpeculationOptions> {
  return () =>
    Promise.resolve({
      choice: 'auto',
      drafts: (sequence) => drafts.source(sequence),
      draftMs: drafts.tokenMs,
      ...(schedule ? { schedule } : {}),
    });
}
