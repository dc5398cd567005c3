import os from 'node:os';
import type { Engine } from '../engine/engine.js';
import type { TensorSource } from '../model/tensor-source.js';
import type { ClusterSecret } from '../transport/security.js';
import { CoordinatorError } from './errors.js';
import type { Candidate } from './plan.js';
import { RemoteWorker, type WorkerAddress } from './remote-worker.js';

/** Which workers to connect to, and how. */
export interface ConnectOptions {
  /** In pipeline order. */
  readonly workers: readonly WorkerAddress[];
  readonly softwareVersion: string;
  /** Encrypts all links and proves both sides to each other. */
  readonly secret?: ClusterSecret;
}

/**
 * Connects to all workers, or to none.
 * @throws TransportError of the first that cannot be reached or does not want this coordinator
 */
export async function connectWorkers(
  { workers, softwareVersion, secret }: ConnectOptions,
  session: string,
): Promise<RemoteWorker[]> {
  const name = `coordinator on ${os.hostname()}, process ${process.pid}`;
  const results = await Promise.allSettled(
    workers.map((address) => RemoteWorker.connect(address, session, softwareVersion, name, secret)),
  );
  const connected = results.flatMap((result) =>
    result.status === 'fulfilled' ? [result.value] : [],
  );
  for (const result of results) {
    if (result.status === 'fulfilled') continue;
    for (const worker of connected) worker.close('the coordinator gave up');
    throw result.reason;
  }
  return connected;
}

/** @throws CoordinatorError 'worker-refused' when the worker holds another model */
export function checkModel({ welcome, name }: RemoteWorker, source: TensorSource): void {
  const { modelFingerprint } = welcome;
  if (modelFingerprint !== '' && modelFingerprint !== source.fingerprint)
    throw new CoordinatorError(
      'worker-refused',
      `worker ${name} holds another model: start it with the same --model file, or without --model to have its shard sent`,
    );
}

/** The coordinator's own machine, as the plan sees it. */
export function ownMachine({ device }: Engine): Candidate {
  return {
    name: 'coordinator',
    device: device.name,
    machine: 'local',
    freeBytes: device.freeBytes,
  };
}

/** A worker's machine, as the plan sees it; those on loopback share the coordinator's. */
export function machineOf({ name, address, welcome }: RemoteWorker): Candidate {
  const isLoopback = /^(127\.|::1$|localhost$)/.test(address.host);
  return {
    name,
    device: welcome.device,
    machine: isLoopback ? 'local' : address.host,
    freeBytes: welcome.freeBytes,
  };
}
