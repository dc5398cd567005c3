import fs from 'node:fs/promises';

/** A prompt and its answer as one. */
export interface GoldenText {
  readonly text: readonly number[];
  readonly promptTokens: number;
}

/** How far some logits are from others. */
export interface Divergence {
  readonly tokens: number;
  /** Mean Kullback-Leibler divergence of the next token's distribution from the reference's, in nats. */
  readonly divergence: number;
  /** Share of positions whose likeliest token is the reference's. */
  readonly agreement: number;
  /** The same, of the positions that choose the answers' tokens; in prompts many tokens are equally likely. */
  readonly answerAgreement: number;
}

/** The demo model's golden texts. @param folder of the repository */
export async function goldenTexts(folder: URL): Promise<GoldenText[]> {
  const file = new URL('test/golden/demo-q8_0.json', folder);
  const { cases } = JSON.parse(await fs.readFile(file, 'utf8')) as {
    cases: { promptTokens: number[]; tokens: number[] }[];
  };
  return cases.map(({ promptTokens, tokens }) => ({
    text: [...promptTokens, ...tokens],
    promptTokens: promptTokens.length,
  }));
}

/**
 * Compares logits after every token of some texts.
 * @param references f32 [tokens, vocabulary] of each text
 * @param logits as `references`
 */
export function divergenceOf(
  texts: readonly GoldenText[],
  references: readonly Float32Array[],
  logits: readonly Float32Array[],
): Divergence {
  let tokens = 0;
  let divergence = 0;
  let agreeing = 0;
  let answerTokens = 0;
  let answersAgreeing = 0;
  for (const [i, { text, promptTokens }] of texts.entries()) {
    const reference = references[i] as Float32Array;
    const vocabulary = reference.length / text.length;
    for (let row = 0; row < text.length; row++) {
      const part = (values: Float32Array) =>
        values.subarray(row * vocabulary, (row + 1) * vocabulary);
      const [p, q] = [logSoftmax(part(reference)), logSoftmax(part(logits[i] as Float32Array))];
      divergence += p.reduce((sum, log, j) => sum + Math.exp(log) * (log - (q[j] as number)), 0);
      const agrees = likeliest(p) === likeliest(q) ? 1 : 0;
      agreeing += agrees;
      tokens++;
      // The last position chooses what would follow the answer.
      if (row < promptTokens - 1 || row === text.length - 1) continue;
      answersAgreeing += agrees;
      answerTokens++;
    }
  }
  return {
    tokens,
    divergence: divergence / tokens,
    agreement: agreeing / tokens,
    answerAgreement: answersAgreeing / answerTokens,
  };
}

/** One line for people. */
export function describeDivergence({
  divergence,
  agreement,
  answerAgreement,
  tokens,
}: Divergence): string {
  return (
    `KL ${divergence.toExponential(2)} nats per token` +
    `  greedy agreement ${(answerAgreement * 100).toFixed(2)} % of answers,` +
    ` ${(agreement * 100).toFixed(2)} % of all ${tokens} tokens`
  );
}

function logSoftmax(logits: Float32Array): Float64Array {
  let max = -Infinity;
  for (const logit of logits) max = Math.max(max, logit);
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - max);
  const shift = max + Math.log(sum);
  return Float64Array.from(logits, (logit) => logit - shift);
}

function likeliest(values: Float64Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++)
    if ((values[i] as number) > (values[best] as number)) best = i;
  return best;
}
