import os from 'node:os';
import type { Engine } from '../engine/engine.js';
import { usableCores } from './cores.js';
import { version } from './version.js';

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

/** Bytes as people read them. */
export function formatBytes(bytes: number): string {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
  return bytes >= 1e6 ? `${(bytes / 1e6).toFixed(0)} MB` : `${(bytes / 1e3).toFixed(0)} kB`;
}
