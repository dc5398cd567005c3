import { denseFeedForward, hybridFamily } from './hybrid.js';

/** Qwen 3.5 and 3.6 (dense): three gated delta nets to one layer of gated attention. */
export const qwen35 = hybridFamily('qwen35', {
  valueHeads: 'in rounds',
  hasAxes: true,
  feedForward: denseFeedForward,
});
