import { cases } from './cases.js';
import { runCases } from './run-cases.js';

// Runs all cases in the machine that vm.sh boots, or those whose names contain an argument.
await runCases(cases, process.argv.slice(2));
process.exit();
