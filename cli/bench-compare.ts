import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { UsageError } from '../app/errors.js';
import { allowedCores } from '../app/pin.js';
import type { Prepared } from '../app/prepare.js';
import { spawnCount } from '../app/spawn.js';
import type { LlamaBenchOptions } from '../bench/llama-bench.js';
import { writeModel } from './bench-model.js';

/**
 * What llama-bench needs to compute as all our processes on this machine together do. A synthetic model is written to a
 * file for it, which is gone afterwards.
 * @throws UsageError where there would be nothing to compare
 */
export async function openLlamaBench(
  program: string,
  { settings, engine, workerCores }: Prepared,
  conversations: number,
): Promise<LlamaBenchOptions & AsyncDisposable> {
  if (settings.workers?.length)
    throw new UsageError('combination', '--compare is for one machine: use --spawn, not --worker');
  if (conversations > 1)
    throw new UsageError('combination', '--compare is for one conversation: leave out the others');
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'daisychain-'));
  const close = () => fs.rm(folder, { recursive: true, force: true });
  try {
    const file = path.join(folder, 'model.gguf');
    if (settings.synthetic) await writeModel(settings, file);
    const processes = settings.spawn ? spawnCount(settings) + 1 : 1;
    return {
      program,
      model: settings.synthetic ? file : (settings.model ?? ''),
      threads: engine.threads * processes,
      cores: settings.pin && os.platform() === 'linux' ? [...allowedCores(), ...workerCores] : [],
      kvType: settings.kvType ?? 'f16',
      onCpu: engine.device.kind === 'cpu',
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
