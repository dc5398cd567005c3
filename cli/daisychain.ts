#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { compileLate } from '../app/compile-late.js';
import { createLogger } from '../app/logging.js';
import { version } from '../app/package.js';
import { logLevels } from '../app/settings/settings.js';
import { addBenchCommand } from './bench.js';
import { addChatCommand } from './chat.js';
import { addDoctorCommand } from './doctor.js';
import { reportFailure } from './failures.js';
import { addRunCommand } from './run.js';
import { addSecretCommand } from './secret.js';
import { addWorkerCommand } from './worker.js';

const description = 'Run large language models across the machines you have.';

const examples = `
Begin with:
  daisychain chat -m model.gguf                         all on this machine
  daisychain chat -m model.gguf --spawn --layers 13,3   two processes on this machine
  daisychain secret new                                 for several machines; it says what to do on the second
  daisychain chat -m model.gguf --worker second:7070    then chats with its help

daisychain help COMMAND says more.`;

/** What is still open when a command is done gets this long to close. */
const drainMs = 1000;

function createProgram(): Command {
  const program = new Command('daisychain')
    .description(description)
    .version(version)
    .addHelpText('after', examples)
    .exitOverride()
    .configureHelp({ sortOptions: false, showGlobalOptions: false })
    .configureOutput({ outputError: (message, write) => write(oneLine(message)) });
  const add = [
    addChatCommand,
    addRunCommand,
    addWorkerCommand,
    addSecretCommand,
    addBenchCommand,
    addDoctorCommand,
  ];
  for (const addCommand of add) addCommand(program);
  return program;
}

/** Commander writes "error: …" and hints on lines of their own. */
function oneLine(message: string): string {
  return `daisychain: ${message
    .replace(/^error: /, '')
    .trim()
    .replace(/\s*\n\s*/g, ' ')}\n`;
}

/** Runs a command line. @returns the exit code */
async function main(): Promise<number> {
  try {
    await createProgram().parseAsync();
    return 0;
  } catch (error) {
    // Commander has printed its own; its code is 0 for --help and --version.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    return reportFailure(error, failureLogger());
  }
}

/** Settings may be what failed, so the level is taken from the command line alone. */
function failureLogger() {
  const words = process.argv.flatMap((argument) => argument.split('='));
  const given = words[words.indexOf('--log-level') + 1];
  const logLevel = logLevels.find((level) => level === given);
  return createLogger(logLevel ? { logLevel } : {}, 'warn');
}

function exitWith(error: unknown): void {
  process.exit(reportFailure(error, failureLogger()));
}

compileLate();
process.on('uncaughtException', exitWith);
process.on('unhandledRejection', exitWith);
// Whoever read our output has enough of it (`daisychain run … | head`).
process.stdout.on('error', () => process.exit(0));

// A command that was interrupted has set its own.
process.exitCode = (await main()) || (process.exitCode ?? 0);
setTimeout(() => process.exit(), drainMs).unref();
