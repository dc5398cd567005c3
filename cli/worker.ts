import type { Command } from 'commander';
import { Closers } from '../app/closers.js';
import { clusterSecret } from '../app/cluster-secret.js';
import { cacheDirectory } from '../app/directories.js';
import { openEngine } from '../app/engine.js';
import { createLogger } from '../app/logging.js';
import { namesModel, openModel } from '../app/model.js';
import { version } from '../app/package.js';
import { bindToCore } from '../app/pin.js';
import { channelFrom } from '../app/settings/choices.js';
import { defaultPort } from '../app/settings/kinds.js';
import { engineSettings } from '../app/settings/settings.js';
import { loopback, type Announcement } from '../app/worker-command.js';
import { Turns } from '../stage/turns.js';
import { formatAddress } from '../transport/wire/tcp.js';
import { Worker } from '../worker/worker.js';
import { addSettings, settingsFrom } from './options.js';

/** A stage that is being loaded when the worker is to end is not waited for longer than this. */
const closeMs = 1000;

const examples = `
Examples:
  daisychain worker                           for coordinators on this machine
  daisychain worker --host 0.0.0.0            for every machine that can reach this one
  daisychain worker -m model.gguf             holds the model itself: nothing is sent

Coordinators must know the cluster secret: daisychain secret new makes one.
A worker serves one coordinator at a time, frees its memory when that one is gone, and waits for the next.`;

/** `daisychain worker`: holds one stage for a coordinator. */
export function addWorkerCommand(program: Command): void {
  const command = program
    .command('worker')
    .description('hold a part of a model for a coordinator, here or on another machine')
    .addHelpText('after', examples)
    .action(runWorker);
  addSettings(command, [
    'host',
    'port',
    'model',
    'synthetic',
    'syntheticLayers',
    'type',
    ...engineSettings,
    'core',
    'secretFile',
    'insecure',
    'transport',
    'rdmaDevice',
    'rdmaQueue',
    'cacheDir',
    'cacheLimit',
    'kvDisk',
    'logLevel',
  ]);
  command.addOption(command.createOption('--announce').hideHelp());
}

async function runWorker(flags: Record<string, unknown>): Promise<void> {
  const announce = flags.announce === true;
  const settings = settingsFrom(flags);
  const logger = createLogger(settings, 'info');
  if (settings.core !== undefined) bindToCore(settings.core, logger);
  const ended = untilEnd(announce);
  await using closers = new Closers();
  const threads = settings.core === undefined ? {} : { threads: 1 };
  const engine = openEngine({ ...threads, ...settings }, logger);
  const model = namesModel(settings) ? await openModel(settings) : undefined;
  if (model) closers.add(() => model.close());
  const host = settings.host ?? loopback;
  const shared = clusterSecret(settings, logger);
  const worker = await Worker.listen({
    host,
    port: settings.port ?? defaultPort,
    engine,
    turns: new Turns(),
    ...(model ? { model } : {}),
    cacheDirectory: settings.cacheDir ?? cacheDirectory(),
    ...(settings.cacheLimit === undefined ? {} : { cacheLimit: settings.cacheLimit }),
    kvDisk: settings.kvDisk,
    ...(shared ? { secret: shared.secret } : {}),
    channel: channelFrom(settings),
    softwareVersion: version,
    logger,
  });
  closers.add(() => worker.close());
  logger.info(`listening on ${formatAddress(host, worker.port)}${reach(host)}`);
  if (announce) announcePort(worker.port);
  logger.info(`${await ended}: ending`);
  // While it is read it keeps this process alive.
  process.stdin.destroy();
  setTimeout(() => process.exit(), closeMs).unref();
}

function reach(host: string): string {
  return host === loopback ? ', for this machine only (--host 0.0.0.0 opens it to others)' : '';
}

function announcePort(port: number): void {
  const announcement: Announcement = { port };
  process.stdout.write(`${JSON.stringify(announcement)}\n`);
}

/**
 * Resolves with the reason when the worker is to end. One that was started by a coordinator ends with the pipe from
 * it, however that one ended, and leaves Ctrl-C, which reaches both, to it.
 */
function untilEnd(announce: boolean): Promise<string> {
  return new Promise((resolve) => {
    process.once('SIGTERM', () => resolve('SIGTERM'));
    if (announce) process.on('SIGINT', () => undefined);
    else process.once('SIGINT', () => resolve('SIGINT'));
    if (!announce) return;
    const gone = () => resolve('the coordinator is gone');
    process.stdin.on('end', gone).on('error', gone).on('close', gone).resume();
  });
}
