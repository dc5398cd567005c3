import { checkPageContent, checkPage, type StepLimits } from './check-step.js';
import type { StagePages } from './engine.js';
import type { StageLifetime } from './stage-lifetime.js';

/** Pages that are asked for over the network: none but those that are there, and not while the stage computes. */
export function checkedPages(
  pages: StagePages,
  limits: StepLimits,
  lifetime: StageLifetime,
): StagePages {
  return {
    bytes: pages.bytes,
    read: (page) =>
      lifetime.compute(() => {
        checkPage(page, limits);
        return pages.read(page);
      }),
    write: (page, content) =>
      lifetime.compute(() => {
        checkPage(page, limits);
        checkPageContent(content, pages.bytes);
        return pages.write(page, content);
      }),
  };
}
