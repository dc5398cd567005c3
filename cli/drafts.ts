import type { Logger } from 'pino';
import type { Settings } from './settings.js';

/** Says what happens to a draft model that the settings name. */
export function noteDraft({ draft }: Pick<Settings, 'draft'>, logger: Logger): void {
  if (draft !== undefined)
    logger.warn('speculative decoding is not built yet; going on without the draft');
}
