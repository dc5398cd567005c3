import fs from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import { secretFile, secretVariable } from '../app/cluster-secret.js';
import { UsageError } from '../app/errors.js';
import { newSecretText } from '../transport/wire/security.js';

const examples = `
Examples:
  daisychain secret new                       makes one, where all commands look for it
  daisychain secret new ./cluster.secret      makes one in a file, for --secret-file
  ${secretVariable}=… daisychain worker       uses it on another machine

All machines of a cluster know the same secret. It proves who may use a worker, and encrypts the links.`;

/** `daisychain secret`: makes cluster secrets. */
export function addSecretCommand(program: Command): void {
  program
    .command('secret')
    .description('make the secret that all machines of a cluster share')
    .addHelpText('after', examples)
    .command('new')
    .description('make a secret, readable by you alone')
    .argument('[file]', 'where to write it', secretFile())
    .option('--force', 'replace one that is there')
    .action(makeSecret);
}

function makeSecret(file: string, { force = false }: { force?: boolean }): void {
  const text = newSecretText();
  try {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    if (force) fs.rmSync(file, { force: true });
    fs.writeFileSync(file, `${text}\n`, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UsageError(
      'file',
      code === 'EEXIST'
        ? `there is a secret in ${file}: use it, or replace it with --force`
        : `cannot write ${file}: ${code}`,
      { cause: error },
    );
  }
  process.stdout.write(`wrote ${file}\n`);
  process.stdout.write('On every other machine, start the worker with it:\n');
  process.stdout.write(`  ${secretVariable}=${text} daisychain worker --host 0.0.0.0\n`);
}
