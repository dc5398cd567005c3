import { runCases } from '../guest/run-cases.js';
import { cases } from './cases.js';

// Runs all cases, or those whose names contain an argument, with this folder's library in the system's place.
await runCases(cases, process.argv.slice(2));
process.exit();
