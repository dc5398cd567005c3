import { clusterSecret } from '../../app/cluster-secret.js';
import { openEngine } from '../../app/engine.js';
import { createLogger } from '../../app/logging.js';
import type { Settings } from '../../app/settings/settings.js';
import type { Device } from '../../engine/engine.js';
import { probeProviders, type ProviderStatus } from '../../engine/onnx/probe.js';
import { describeMachine, describeVersions } from '../machine.js';
import { modelFacts, type ModelFacts } from './model-facts.js';
import { rdmaFacts, type RdmaFacts } from './rdma-facts.js';
import { workerFacts, type WorkerFacts } from './worker-facts.js';

/** What `doctor --json` prints. */
export interface DoctorReport {
  readonly machine: ReturnType<typeof describeMachine> & { readonly freeBytes: number };
  readonly versions: Readonly<Record<string, string>>;
  readonly devices: readonly Device[];
  /** Name of the device that would compute. */
  readonly device: string;
  readonly rdma: RdmaFacts;
  /** What ONNX Runtime could compute with here. */
  readonly providers: readonly ProviderStatus[];
  readonly model?: ModelFacts;
  readonly workers: readonly WorkerFacts[];
}

/**
 * Looks at this machine, and at the model file and the workers that the settings name.
 * @throws UsageError, ModelError, EngineError; a worker that cannot be reached is part of the report
 */
export async function examine(settings: Settings): Promise<DoctorReport> {
  const engine = openEngine(settings);
  const model = settings.model === undefined ? undefined : await modelFacts(settings.model);
  const workers = settings.workers ?? [];
  const shared =
    workers.length > 0 ? clusterSecret(settings, createLogger(settings, 'warn')) : undefined;
  return {
    machine: { ...describeMachine(), freeBytes: process.availableMemory() },
    versions: describeVersions(engine),
    devices: engine.devices().map(deviceFacts),
    device: engine.device.name,
    rdma: rdmaFacts(),
    providers: probeProviders(),
    ...(model ? { model } : {}),
    workers: await Promise.all(workers.map((worker) => workerFacts(worker, shared?.secret))),
  };
}

/** An engine's devices carry more than can be printed. */
function deviceFacts(device: Device): Device {
  const { name, description, kind, freeBytes, totalBytes, bufferTypes } = device;
  return { name, description, kind, freeBytes, totalBytes, bufferTypes };
}
