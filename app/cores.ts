import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';

/** Taken before this process is bound to one core. */
const usable = os.availableParallelism();

/**
 * Cores that are worth a compute thread each: physical ones, on Apple silicon the performance cores, and never more
 * than this process may use.
 */
export function usableCores(): number {
  return Math.max(1, Math.min(usable, physicalCores() ?? usable));
}

function physicalCores(): number | undefined {
  if (process.platform === 'linux') return linuxCores();
  if (process.platform === 'darwin')
    return systemControl('hw.perflevel0.physicalcpu') ?? systemControl('hw.physicalcpu');
  return undefined;
}

/** Threads of one core name the same siblings. */
function linuxCores(): number | undefined {
  const folder = '/sys/devices/system/cpu';
  try {
    const siblings = fs
      .readdirSync(folder)
      .filter((name) => /^cpu\d+$/.test(name))
      .map((name) => `${folder}/${name}/topology/thread_siblings_list`)
      .filter((file) => fs.existsSync(file))
      .map((file) => fs.readFileSync(file, 'utf8'));
    return new Set(siblings).size || undefined;
  } catch {
    return undefined;
  }
}

function systemControl(name: string): number | undefined {
  try {
    return (
      Number(execFileSync('sysctl', ['-n', name], { stdio: ['ignore', 'pipe', 'ignore'] })) ||
      undefined
    );
  } catch {
    return undefined;
  }
}
