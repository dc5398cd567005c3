import path from 'node:path';
import { DraftModel, draftChunk } from '../coord/draft-model.js';
import type { SpeculationOptions } from '../coord/speculator.js';
import { plainSlots } from '../coord/sequence-states.js';
import { checkModel } from '../model/architectures/check-model.js';
import { keepsStates, rewindOf } from '../model/architectures/layer.js';
import { openGguf } from '../model/gguf/reader.js';
import { checkSameVocabulary } from '../model/vocabulary.js';
import { CombinedDraft } from '../speculative/combined-draft.js';
import { NgramDraft } from '../speculative/ngram-draft.js';
import { OracleDraft } from '../speculative/oracle-draft.js';
import type { Closers } from './closers.js';
import { UsageError } from './errors.js';
import type { Prepared } from './prepare.js';
import type { Settings } from './settings/settings.js';

/** Longer texts have no drafts of a model: its cells are its own, beside the target's. */
const mostDraftCells = 8192;

/** What guesses tokens ahead. */
export type DraftChoice =
  | { readonly kind: 'ngram' }
  | { readonly kind: 'model'; readonly file: string; readonly withNgram: boolean }
  | { readonly kind: 'oracle'; readonly acceptance: number };

/** What drafts have to know of the cluster that they are for. */
export interface DraftNeeds {
  /** Tokens that a text may have. */
  readonly context: number;
  /** Texts that there are drafts for at once. */
  readonly conversations: number;
  /** The text that the target will write, for the simulation of `bench`. */
  readonly recording?: readonly number[];
}

type Drafts = Pick<SpeculationOptions, 'drafts' | 'draftMs'>;

/** Drafts that are not loaded yet: the plan makes room for them first. */
export interface PlannedDrafts {
  /** Memory that they will take on the coordinator's device, in bytes. */
  readonly memoryBytes: number;
  /** @throws ModelError, EngineError */
  load(): Promise<Drafts>;
}

/** What guesses, and whether it is a simulation, for reports. */
export function describeDraft({ draft = 'ngram' }: Pick<Settings, 'draft'>) {
  return { name: path.basename(draft), simulation: draft.startsWith('oracle:') };
}

/** The drafts that the settings ask for; undefined for none. @throws UsageError */
export function draftChoice({ draft, speculate }: Settings): DraftChoice | undefined {
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
  throw new UsageError(
    'setting',
    `--draft: expected oracle: and a number from 0 to 1, not "oracle:${text}"`,
  );
}

/**
 * Reads what the drafts will take, and loads nothing yet.
 * @param closers get what the drafts hold
 * @throws UsageError, ModelError, EngineError
 */
export async function planDrafts(
  choice: DraftChoice,
  prepared: Prepared,
  needs: DraftNeeds,
  closers: Closers,
): Promise<PlannedDrafts> {
  switch (choice.kind) {
    case 'ngram':
      return weightless({ drafts: () => new NgramDraft(), draftMs: 0 });
    case 'oracle': {
      const { recording } = needs;
      if (!recording)
        throw new UsageError('combination', '--draft oracle is a simulation: use it with bench');
      return weightless({
        drafts: () => new OracleDraft(recording, choice.acceptance),
        draftMs: 0,
      });
    }
    case 'model':
      return planDraftModel(choice.file, choice.withNgram, prepared, needs, closers);
  }
}

function weightless(drafts: Drafts): PlannedDrafts {
  return { memoryBytes: 0, load: () => Promise.resolve(drafts) };
}

async function planDraftModel(
  file: string,
  withNgram: boolean,
  { engine, turns, source: target }: Prepared,
  { context, conversations }: DraftNeeds,
  closers: Closers,
): Promise<PlannedDrafts> {
  const source = await openGguf(file);
  closers.add(() => source.close());
  checkSameVocabulary(target, source);
  const { sizes, layers } = checkModel(source);
  const slotsEach = keepsStates(layers) ? plainSlots : 0;
  const cellsEach = Math.min(context, mostDraftCells);
  const options = {
    source,
    shard: { firstLayer: 0, endLayer: sizes.layers, embedding: true, head: true },
    cells: cellsEach * conversations,
    conversations,
    ...(slotsEach > 0 ? { states: slotsEach * conversations } : {}),
    kvType: 'f16',
    maxStepRows: draftChunk,
  } as const;
  const { weights, kv, compute } = engine.estimate(options);
  return {
    memoryBytes: weights + kv + compute,
    load: async () => {
      const stage = await engine.load(options);
      const rewind = rewindOf(layers, cellsEach, draftChunk);
      const memory = { rewind, texts: conversations, cellsEach, slotsEach };
      const model = await DraftModel.open(stage, path.basename(file), turns, memory);
      closers.add(() => model.close());
      return {
        drafts: (sequence) => {
          const drafts = model.source(sequence);
          return withNgram ? new CombinedDraft(drafts) : drafts;
        },
        draftMs: model.tokenMs,
      };
    },
  };
}
