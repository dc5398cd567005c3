import os from 'node:os';
import { usableCores } from '../app/cores.js';
import { version } from '../app/package.js';
import type { Engine } from '../engine/engine.js';

/** What figures depend on: the machine. */
export function describeMachine() {
  const cpus = os.cpus();
  return {
    cpu: cpus[0]?.model.trim() ?? 'unknown',
    cores: usableCores(),
    logicalCores: cpus.length,
    memoryBytes: os.totalmem(),
    platform: process.platform,
    arch: process.arch,
  };
}

/** What figures depend on: the software. */
export function describeVersions(engine: Engine): Record<string, string> {
  return { daisychain: version, node: process.versions.node, ...engine.versions };
}
