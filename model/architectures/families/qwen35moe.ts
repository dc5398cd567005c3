import { gatedExperts, hybridFamily } from './hybrid.js';

/** Qwen 3.5 and 3.6 with experts, such as 35B-A3B, 122B-A10B and 397B-A17B. */
export const qwen35moe = hybridFamily('qwen35moe', {
  valueHeads: 'in rounds',
  hasAxes: true,
  feedForward: gatedExperts,
});
