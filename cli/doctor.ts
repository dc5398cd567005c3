import { randomUUID } from 'node:crypto';
import os from 'node:os';
import { Option, type Command } from 'commander';
import type { Device } from '../engine/engine.js';
import { probeProviders, type ProviderStatus } from '../engine/onnx/probe.js';
import { architectureOf } from '../model/architectures/registry.js';
import { openGguf } from '../model/gguf/reader.js';
import { TransportError } from '../transport/errors.js';
import type { ClusterSecret } from '../transport/security.js';
import { dial, formatAddress } from '../transport/tcp.js';
import type { WorkerAddress } from '../coord/remote-worker.js';
import { clusterSecret } from './cluster-secret.js';
import { formatDoctorReport } from './doctor-report.js';
import { createLogger } from './logging.js';
import { describeMachine, describeVersions } from './machine.js';
import { openEngine } from './open-local.js';
import { addSettings, settingsFrom } from './options.js';
import { rdmaFacts, type RdmaFacts } from './rdma-facts.js';
import { version } from './version.js';

const examples = `
Examples:
  daisychain doctor                              this machine
  daisychain doctor --worker second:7070         … and whether a worker can be reached
  daisychain doctor -m model.gguf                … and what is in a model file`;

const pings = 5;

/** What is in a model file. */
export interface ModelFacts {
  readonly file: string;
  readonly architecture: string;
  readonly layers: number;
  readonly hiddenSize: number;
  readonly vocabulary: number;
  readonly contextLength: number;
  readonly bytes: number;
  /** Bytes by tensor type. */
  readonly types: Readonly<Record<string, number>>;
  readonly fingerprint: string;
}

/** Whether a worker can be reached, and what it says about itself. */
export type WorkerFacts = { readonly address: string } & (
  | {
      readonly reachable: true;
      readonly name: string;
      readonly version: string;
      readonly device: string;
      readonly threads: number;
      readonly freeBytes: number;
      /** Fingerprint of the model that it holds; empty when it holds none. */
      readonly model: string;
      /** Round-trip time of a message, the shortest of some. */
      readonly rttMs: number;
    }
  | { readonly reachable: false; readonly problem: string }
);

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

/** `daisychain doctor`: what this machine can do, and what may be in the way. */
export function addDoctorCommand(program: Command): void {
  const command = program
    .command('doctor')
    .description(
      'show devices, RDMA, memory, versions, workers in reach, and what a model file holds',
    )
    .addOption(new Option('--json', 'print one JSON object'))
    .addHelpText('after', examples)
    .action(doctor);
  addSettings(command, [
    'model',
    'workers',
    'device',
    'engine',
    'provider',
    'threads',
    'secretFile',
    'insecure',
  ]);
}

async function doctor(flags: Record<string, unknown>): Promise<void> {
  const settings = settingsFrom(flags);
  const engine = openEngine(settings);
  const model = settings.model === undefined ? undefined : await modelFacts(settings.model);
  const workers = settings.workers ?? [];
  const shared =
    workers.length > 0 ? clusterSecret(settings, createLogger(settings, 'warn')) : undefined;
  const report: DoctorReport = {
    machine: { ...describeMachine(), freeBytes: process.availableMemory() },
    versions: describeVersions(engine),
    devices: engine.devices().map(deviceFacts),
    device: engine.device.name,
    rdma: rdmaFacts(),
    providers: probeProviders(),
    ...(model ? { model } : {}),
    workers: await Promise.all(workers.map((worker) => workerFacts(worker, shared?.secret))),
  };
  process.stdout.write(`${flags.json ? JSON.stringify(report) : formatDoctorReport(report)}\n`);
  if (report.workers.some(({ reachable }) => !reachable)) process.exitCode = 1;
}

/** An engine's devices carry more than can be printed. */
function deviceFacts(device: Device): Device {
  const { name, description, kind, freeBytes, totalBytes, bufferTypes } = device;
  return { name, description, kind, freeBytes, totalBytes, bufferTypes };
}

async function modelFacts(file: string): Promise<ModelFacts> {
  const source = await openGguf(file);
  try {
    const architecture = architectureOf(source);
    const sizes = architecture.hyperparameters(source);
    const types: Record<string, number> = {};
    for (const { type, bytes } of source.tensors.values())
      types[type.name] = (types[type.name] ?? 0) + bytes;
    return {
      file,
      architecture: architecture.name,
      layers: sizes.layers,
      hiddenSize: sizes.hiddenSize,
      vocabulary: sizes.vocabulary,
      contextLength: sizes.contextLength,
      bytes: Object.values(types).reduce((sum, bytes) => sum + bytes, 0),
      types,
      fingerprint: source.fingerprint,
    };
  } finally {
    await source.close();
  }
}

async function workerFacts(worker: WorkerAddress, secret?: ClusterSecret): Promise<WorkerFacts> {
  const address = formatAddress(worker.host, worker.port);
  const name = `doctor on ${os.hostname()}`;
  const hello = { role: 'control', session: randomUUID(), softwareVersion: version, name } as const;
  try {
    const { connection, welcome } = await dial({ ...worker, hello, ...(secret ? { secret } : {}) });
    const { name, softwareVersion, device, threads, freeBytes, modelFingerprint } = welcome;
    const rttMs = await roundTrip(connection);
    connection.close('the doctor is done');
    const facts = { name, version: softwareVersion, device, threads, freeBytes };
    return { address, reachable: true, ...facts, model: modelFingerprint, rttMs };
  } catch (error) {
    if (!(error instanceof TransportError)) throw error;
    return { address, reachable: false, problem: error.message };
  }
}

/** @throws TransportError when the worker goes away */
async function roundTrip(
  connection: Awaited<ReturnType<typeof dial>>['connection'],
): Promise<number> {
  const times: number[] = [];
  const gone = connection.closed.then((reason) => Promise.reject(reason));
  gone.catch(() => undefined);
  for (let i = 0; i < pings; i++) {
    const begin = performance.now();
    const answered = new Promise<void>((resolve) => (connection.onMessage = () => resolve()));
    connection.send('statsRequest', { reset: false });
    await Promise.race([answered, gone]);
    times.push(performance.now() - begin);
  }
  return Math.min(...times);
}
