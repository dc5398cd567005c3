import type { Logger } from 'pino';
import type { SpeculationOptions } from '../coord/speculator.js';
import { DaisychainError } from '../step/errors.js';
import type { Closers } from './closers.js';
import { draftChoice, planDrafts, type DraftNeeds, type PlannedDrafts } from './drafts.js';
import { UsageError } from './errors.js';
import type { Prepared } from './prepare.js';

/** Speculation whose drafts are not loaded yet. */
export interface PlannedSpeculation extends Pick<PlannedDrafts, 'memoryBytes'> {
  /** Loads the drafts; undefined when that fails, after a warning. */
  readonly open: () => Promise<SpeculationOptions | undefined>;
}

/**
 * The speculation that the settings ask for; undefined for none. Drafts that cannot be had cost a warning, not the
 * answer.
 * @param closers get what the drafts hold
 * @throws UsageError when the settings contradict themselves
 */
export async function planSpeculation(
  prepared: Prepared,
  needs: DraftNeeds,
  closers: Closers,
  logger: Logger,
): Promise<PlannedSpeculation | undefined> {
  const { settings } = prepared;
  const choice = draftChoice(settings);
  if (!choice) return undefined;
  const planned = await attempt(() => planDrafts(choice, prepared, needs, closers), logger);
  return (
    planned && {
      memoryBytes: planned.memoryBytes,
      open: async () => {
        const drafts = await attempt(() => planned.load(), logger);
        return drafts && { choice: settings.speculate ?? 'auto', ...drafts };
      },
    }
  );
}

/** @returns undefined when drafts cannot be had, after a warning */
async function attempt<Result>(
  action: () => Promise<Result>,
  logger: Logger,
): Promise<Result | undefined> {
  try {
    return await action();
  } catch (error) {
    if (error instanceof UsageError || !(error instanceof DaisychainError)) throw error;
    logger.warn(`going on without drafts: ${error.message}`);
    return undefined;
  }
}
