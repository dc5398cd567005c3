import path from 'node:path';
import type { Logger } from 'pino';
import type { CellRange } from '../coord/cells.js';
import { DraftModel, draftChunk } from '../coord/draft-model.js';
import type { SpeculationOptions } from '../coord/speculator.js';
import { architectureOf } from '../model/architectures/registry.js';
import { openGguf } from '../model/gguf/reader.js';
import { checkSameVocabulary } from '../model/vocabulary.js';
import { CombinedDraft } from '../speculative/combined-draft.js';
import type { DraftSource } from '../speculative/draft-source.js';
import { NgramDraft } from '../speculative/ngram-draft.js';
import { OracleDraft } from '../speculative/oracle-draft.js';
import type { Closers } from './closers.js';
import { isExpected, UsageError } from './errors.js';
import type { Local } from './open-local.js';
import type { Settings } from './settings.js';

/** What guesses tokens ahead. */
type DraftChoice =
  | { readonly kind: 'ngram' }
  | { readonly kind: 'model'; readonly file: string; readonly withNgram: boolean }
  | { readonly kind: 'oracle'; readonly acceptance: number };

/** What drafts have to know of the cluster that they are for. */
export interface DraftNeeds {
  /** KV cells of all conversations. */
  readonly cells: number;
  /** The text that the target will write, for the simulation of `bench`. */
  readonly recording?: readonly number[];
}

/**
 * The speculation that the settings ask for; undefined for none. Drafts that cannot be had cost a warning, not the
 * answer.
 * @throws UsageError when the settings contradict themselves
 */
export async function openSpeculation(
  local: Local,
  needs: DraftNeeds,
  closers: Closers,
  logger: Logger,
): Promise<SpeculationOptions | undefined> {
  const choice = draftChoice(local.settings);
  if (!choice) return undefined;
  try {
    const drafts = await openDrafts(choice, local, needs, closers);
    return { choice: local.settings.speculate ?? 'auto', ...drafts };
  } catch (error) {
    if (error instanceof UsageError || !isExpected(error)) throw error;
    logger.warn(`going on without drafts: ${error.message}`);
    return undefined;
  }
}

/** What guesses, and whether it is a simulation, for reports. */
export function describeDraft({ draft = 'ngram' }: Pick<Settings, 'draft'>) {
  return { name: path.basename(draft), simulation: draft.startsWith('oracle:') };
}

/** @throws UsageError */
function draftChoice({ draft, speculate }: Settings): DraftChoice | undefined {
  if (speculate === 'off' || (draft === undefined && speculate === undefined)) return undefined;
  if (draft === undefined || draft === 'ngram') return { kind: 'ngram' };
  const [, share] = /^oracle:(.+)$/.exec(draft) ?? [];
  if (share !== undefined) return { kind: 'oracle', acceptance: checkShare(share) };
  const withNgram = draft.startsWith('ngram+');
  return { kind: 'model', file: withNgram ? draft.slice('ngram+'.length) : draft, withNgram };
}

function checkShare(text: string): number {
  const share = Number(text);
  if (share >= 0 && share <= 1) return share;
  throw new UsageError(`--draft: expected oracle: and a number from 0 to 1, not "oracle:${text}"`);
}

async function openDrafts(
  choice: DraftChoice,
  local: Local,
  needs: DraftNeeds,
  closers: Closers,
): Promise<Pick<SpeculationOptions, 'drafts' | 'draftMs'>> {
  switch (choice.kind) {
    case 'ngram':
      return { drafts: () => new NgramDraft(), draftMs: 0 };
    case 'oracle': {
      const { recording } = needs;
      if (!recording) throw new UsageError('--draft oracle is a simulation: use it with bench');
      return { drafts: () => new OracleDraft(recording, choice.acceptance), draftMs: 0 };
    }
    case 'model': {
      const model = await loadDraftModel(choice.file, local, needs.cells);
      closers.add(() => model.close());
      const source = (range: CellRange): DraftSource => model.source(range);
      return {
        drafts: choice.withNgram ? (range) => new CombinedDraft(source(range)) : source,
        draftMs: model.tokenMs,
      };
    }
  }
}

/** @throws ModelError, EngineError */
async function loadDraftModel(file: string, local: Local, cells: number): Promise<DraftModel> {
  const source = await openGguf(file);
  try {
    checkSameVocabulary(local.source, source);
    const { layers } = architectureOf(source).hyperparameters(source);
    const stage = await local.engine.load({
      source,
      shard: { firstLayer: 0, endLayer: layers, embedding: true, head: true },
      cells,
      kvType: 'f16',
      maxBatchTokens: draftChunk,
    });
    return await DraftModel.open(stage, path.basename(file));
  } finally {
    await source.close();
  }
}
