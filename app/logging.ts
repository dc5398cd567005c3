import { pino, type Logger } from 'pino';
import { PinoPretty } from 'pino-pretty';
import type { Settings } from './settings/settings.js';

/** Set for worker processes that we start, whose logs pass through ours: write them for people. */
export const prettyLogsVariable = 'DAISYCHAIN_PRETTY_LOGS';

/** Whether logs are written for people rather than programs. */
export function logsArePretty(): boolean {
  return process.stderr.isTTY || process.env[prettyLogsVariable] === '1';
}

/** A log on stderr: for people on a terminal, as JSON lines elsewhere. Written at once, so that none is lost. */
export function createLogger(
  { logLevel }: Pick<Settings, 'logLevel'>,
  defaultLevel: NonNullable<Settings['logLevel']>,
): Logger {
  const options = { level: logLevel ?? defaultLevel, base: { process: process.pid } };
  if (!logsArePretty()) return pino(options, pino.destination({ fd: 2, sync: true }));
  const pretty = PinoPretty({
    destination: 2,
    sync: true,
    colorize: process.stderr.isTTY,
    ignore: 'process',
    translateTime: 'SYS:HH:MM:ss',
  });
  return pino(options, pretty);
}
