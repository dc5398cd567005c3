import fs from 'node:fs';

/** Root of the repository, seen from the compiled tests. */
export const root = new URL('../../../', import.meta.url);

/** One prompt and what llama.cpp made of it, greedily. */
export interface GoldenCase {
  prompt: string;
  promptTokens: number[];
  tokens: number[];
  text: string;
  stop: string;
  /** Per token: its log-probability minus that of the second best. */
  margins: number[];
}

/** Choices with a smaller margin may differ by rounding alone. */
export const clearMargin = 0.02;

export const goldenModels = [
  { model: 'demo.gguf', golden: 'demo-q8_0.json' },
  { model: 'demo-q4_0.gguf', golden: 'demo-q4_0.json' },
] as const;

/** Path of a file of the repository. */
export function repositoryPath(name: string): string {
  return new URL(name, root).pathname;
}

export function goldenCases(name: string): GoldenCase[] {
  const file = JSON.parse(fs.readFileSync(new URL(`test/golden/${name}`, root), 'utf8')) as {
    cases: GoldenCase[];
  };
  return file.cases;
}

/** Tokens up to the first choice that rounding may turn. */
export function clearTokens({ tokens, margins }: GoldenCase): number[] {
  const unclear = margins.findIndex((margin) => margin < clearMargin);
  return unclear < 0 ? tokens : tokens.slice(0, unclear);
}
