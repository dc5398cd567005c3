import { formatBytes, formatVersions } from '../format.js';
import { formatKept, formatParameters } from '../model-totals.js';
import type { ModelFacts } from './model-facts.js';
import type { RdmaFacts } from './rdma-facts.js';
import type { DoctorReport } from './report.js';
import type { WorkerFacts } from './worker-facts.js';

/** The report for people. */
export function formatDoctorReport(report: DoctorReport): string {
  const { machine, versions, devices, device, rdma, providers, model, workers } = report;
  const lines = [
    `machine   ${machine.cpu}, ${machine.cores} cores (${machine.logicalCores} logical), ${machine.platform} ${machine.arch}`,
    `memory    ${formatBytes(machine.freeBytes)} of ${formatBytes(machine.memoryBytes)} free`,
    `versions  ${formatVersions(versions)}`,
    'devices',
    ...devices.flatMap((found) => [
      `  ${found.name === device ? '*' : ' '} ${found.name} (${found.kind}): ${found.description.trim()}, ${formatBytes(found.freeBytes)} of ${formatBytes(found.totalBytes)} free`,
      `      weights go into ${found.bufferTypes.join(', else ')}`,
    ]),
    ...formatRdma(rdma),
    'providers of --engine onnx',
    ...providers.map(({ name, description, problem }) => `    ${name}: ${problem ?? description}`),
    ...(model ? formatModel(model) : []),
    ...(workers.length > 0 ? ['workers', ...workers.flatMap(formatWorker)] : []),
  ];
  return lines.join('\n');
}

function formatRdma({ devices, problem }: RdmaFacts): string[] {
  if (problem !== undefined) return [`rdma      ${problem}`];
  return [
    'rdma',
    ...devices.map(({ name, active, addresses, problem }) =>
      [
        `    ${name}: ${active ? 'active' : 'not active'}`,
        ...(addresses.length > 0 ? [`addresses ${addresses.join(', ')}`] : []),
        ...(problem === undefined ? [] : [problem]),
      ].join('; '),
    ),
  ];
}

function formatModel(model: ModelFacts): string[] {
  const types = Object.entries(model.types)
    .sort(([, a], [, b]) => b - a)
    .map(([name, bytes]) => `${name} ${formatBytes(bytes)}`);
  return [
    `model     ${model.file}`,
    `  ${model.architecture}, ${model.layers} layers, hidden size ${model.hiddenSize}, vocabulary ${model.vocabulary}, context ${model.contextLength}`,
    `  ${formatParameters(model)}, ${formatBytes(model.bytes)}: ${types.join(', ')}`,
    ...model.layerKinds.map(
      ({ name, layers, bytes }) => `    ${layers} layers with ${name}: ${formatBytes(bytes)}`,
    ),
    `  keeps ${formatKept(model)}`,
    `  fingerprint ${model.fingerprint.slice(0, 16)}`,
  ];
}

function formatWorker(worker: WorkerFacts): string[] {
  if (!worker.reachable) return [`  ${worker.address}  ${worker.problem}`];
  const { address, name, machineId, version, engine, device, threads, freeBytes } = worker;
  const { model, busy, rttMs } = worker;
  const holds = model === '' ? 'holds no model file' : `holds model ${model.slice(0, 16)}`;
  return [
    `  ${address}  reachable, round trip ${rttMs.toFixed(2)} ms, ${busy ? 'busy with a coordinator' : 'waiting for a coordinator'}`,
    `      ${name}, daisychain ${version}, ${engine} on ${device}, ${threads} threads, ${formatBytes(freeBytes)} free, ${holds}`,
    `      machine ${machineId}`,
  ];
}
