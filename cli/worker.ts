import type { Command } from 'commander';
import { formatAddress } from '../transport/tcp.js';
import { Worker } from '../worker/worker.js';
import { channelFrom } from './channel.js';
import { clusterSecret } from './cluster-secret.js';
import { Closers } from './closers.js';
import { cacheDirectory } from './directories.js';
import { createLogger } from './logging.js';
import { openEngine } from './open-local.js';
import { openModel } from './open-model.js';
import { addSettings, engineSettings, settingsFrom } from './options.js';
import { bindToCore } from './pin.js';
import { defaultPort } from './setting-types.js';
import type { Announcement } from './spawn.js';
import { version } from './version.js';

/** A stage that is being loaded when the worker is to end is not waited for longer than this. */
const closeMs = 1000;

const loopback = '127.0.0.1';

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
    'type',
    ...engineSettings,
    'core',
    'secretFile',
    'insecure',
    'transport',
    'rdmaDevice',
    'rdmaQueue',
    'cacheDir',
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
  const engine = openEngine(settings.core === undefined ? settings : { threads: 1, ...settings });
  const model = await openModel(settings);
  if (model) closers.add(() => model.close());
  const host = settings.host ?? loopback;
  const shared = clusterSecret(settings, logger);
  const worker = await Worker.listen({
    host,
    port: settings.port ?? defaultPort,
    engine,
    ...(model ? { model } : {}),
    cacheDirectory: settings.cacheDir ?? cacheDirectory(),
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
