import { gatedExperts, hybridFamily } from './hybrid.js';

/** Qwen 3 Next and Qwen 3 Coder Next (80B-A3B). */
export const qwen3next = hybridFamily('qwen3next', {
  valueHeads: 'together',
  hasAxes: false,
  feedForward: gatedExperts,
});
