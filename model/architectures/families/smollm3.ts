import { plainFamily } from './plain.js';

/** Of so many layers the last is not told positions (arXiv 2501.18795). */
const period = 4;

/** SmolLM 3. */
export const smollm3 = plainFamily('smollm3', {
  pairing: 'neighbours',
  attends: (attention, index) =>
    (index + 1) % period === 0 ? { ...attention, rope: undefined } : attention,
});
