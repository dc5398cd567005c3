import fs from 'node:fs';
import koffi from 'koffi';
import type { Logger } from 'pino';

/** Bytes of a Linux CPU mask: 1024 CPUs. */
const maskBytes = 128;

/**
 * Core numbers for `count` processes, one each, of those that this process may use; beginning again where there are
 * fewer. Ask before binding: afterwards there is only one. Empty where the system cannot bind; a warning says so.
 */
export function chooseCores(count: number, logger: Logger): number[] {
  if (process.platform !== 'linux') {
    logger.warn(`binding to cores is not supported on ${process.platform}: going on without it`);
    return [];
  }
  const allowed = allowedCores();
  if (count > allowed.length)
    logger.warn(`${count} processes share ${allowed.length} cores: figures will be low`);
  return Array.from({ length: count }, (_, i) => allowed[i % allowed.length] ?? 0);
}

/** Binds this process, with all threads it has and will have, to a core. Logs a warning where it cannot. */
export function bindToCore(core: number, logger: Logger): void {
  if (process.platform !== 'linux') {
    logger.warn(`binding to cores is not supported on ${process.platform}: going on without it`);
    return;
  }
  if (!bindThreads(core)) logger.warn(`the system refused to bind this process to core ${core}`);
  else logger.debug(`bound to core ${core}`);
}

/** Reads lists like 0-3,8. */
export function parseCoreList(list: string): number[] {
  return list
    .trim()
    .split(',')
    .flatMap((part) => {
      if (part === '') return [];
      const [from = 0, to = from] = part.split('-').map(Number);
      return Array.from({ length: to - from + 1 }, (_, i) => from + i);
    });
}

/** Cores that this process may use now (Linux). */
export function allowedCores(): number[] {
  const status = fs.readFileSync('/proc/self/status', 'utf8');
  return parseCoreList(/^Cpus_allowed_list:\s*(.+)$/m.exec(status)?.[1] ?? '');
}

/** A thread inherits its creator's core; those that exist already are bound one by one. */
function bindThreads(core: number): boolean {
  const mask = new Uint8Array(maskBytes);
  mask[core >> 3] = 1 << (core & 7);
  const setAffinity = koffi
    .load(null)
    .func('int sched_setaffinity(int thread, size_t size, const void* mask)');
  const done = new Set<string>();
  let bound = true;
  for (;;) {
    const threads = fs.readdirSync('/proc/self/task').filter((thread) => !done.has(thread));
    if (threads.length === 0) return bound;
    for (const thread of threads) {
      done.add(thread);
      const status = setAffinity(Number(thread), maskBytes, mask) as number;
      // A thread may have ended since it was listed.
      if (status !== 0 && fs.existsSync(`/proc/self/task/${thread}`)) bound = false;
    }
  }
}
