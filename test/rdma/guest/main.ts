import { cases } from './cases.js';

// Runs all cases in the machine that vm.sh boots, or those whose names contain an argument, and reports each as a line.
const wanted = process.argv.slice(2);

for (const [name, run] of Object.entries(cases)) {
  if (wanted.length > 0 && !wanted.some((part) => name.includes(part))) continue;
  const begin = performance.now();
  let result: { ok: boolean; detail: string };
  try {
    result = { ok: true, detail: await run() };
  } catch (error) {
    result = { ok: false, detail: String((error as Error).stack) };
  }
  const seconds = Math.round((performance.now() - begin) / 100) / 10;
  console.log(`RESULT ${JSON.stringify({ name, ...result, seconds })}`);
}
process.exit();
