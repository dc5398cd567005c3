/**
 * How token ids are chosen from logits. Greedy when `temperature` is 0. The filters see logits before temperature, each
 * what the one before it left, in llama.cpp's order: repetition penalty, top-k, typical-p, top-p, min-p.
 */
export interface Sampling {
  readonly temperature: number;
  /** Keep the k likeliest; 0 keeps all. */
  readonly topK: number;
  /**
   * Keep those whose surprise is closest to the expected one, until their probabilities add up to more than p; 1 keeps
   * all (arXiv 2202.00666).
   */
  readonly typicalP: number;
  /** Keep the likeliest whose probabilities add up to p; 1 keeps all. */
  readonly topP: number;
  /** Keep those at least this share as likely as the likeliest; 0 keeps all. */
  readonly minP: number;
  /** Divides (or multiplies, when negative) the logits of recent tokens; 1 changes nothing. */
  readonly repetitionPenalty: number;
  /** 32 bits. The same seed gives the same choice at the same position, on every stage and split. */
  readonly seed: number;
}

export const greedy: Sampling = {
  temperature: 0,
  topK: 0,
  typicalP: 1,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  seed: 0,
};
