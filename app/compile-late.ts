import v8 from 'node:v8';

/** Bytes of bytecode between two looks at whether a function is hot: eight times what V8 has of its own. */
const interruptBudget = 8 * 132 * 1024;

/**
 * Has V8 compile functions with its optimizing compiler later than it would. What a step runs beside its graph is some
 * 200 functions. Optimized, they save a tenth of a millisecond per step; but compiling them takes half a second of a
 * core, in the first answer of all, while the stage wants that core. Loops over many numbers are hot soon enough all
 * the same. Later versions of Node (from 22 on) compile cheaply first, and have other flags.
 */
export function compileLate(): void {
  if (process.versions.v8.startsWith('11.'))
    v8.setFlagsFromString(`--interrupt-budget=${interruptBudget}`);
}
