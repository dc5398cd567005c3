import type { Cases } from './link-cases.js';

/** What became of a case. */
export interface CaseResult {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
  readonly seconds: number;
}

/** Runs those cases whose names contain one of the words, or all without any, and reports each as a line. */
export async function runCases(cases: Cases, words: readonly string[]): Promise<void> {
  for (const [name, run] of Object.entries(cases)) {
    if (words.length > 0 && !words.some((word) => name.includes(word))) continue;
    const begin = performance.now();
    let outcome: Pick<CaseResult, 'ok' | 'detail'>;
    try {
      outcome = { ok: true, detail: await run() };
    } catch (error) {
      outcome = { ok: false, detail: String((error as Error).stack) };
    }
    const seconds = Math.round((performance.now() - begin) / 100) / 10;
    const result: CaseResult = { name, ...outcome, seconds };
    console.log(`RESULT ${JSON.stringify(result)}`);
  }
}

/** What a line of the output reports, if it does. */
export function reportedIn(line: string): CaseResult | undefined {
  const report = /RESULT (\{.*\})/.exec(line)?.[1];
  return report === undefined ? undefined : (JSON.parse(report) as CaseResult);
}
