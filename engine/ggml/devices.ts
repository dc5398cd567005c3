import os from 'node:os';
import koffi from 'koffi';
import { EngineError, type Device, type DeviceKind } from '../engine.js';
import { deviceType, type Ggml, type Pointer } from './bindings.js';

/** A device with the handles that the engine needs of it. */
export interface GgmlDevice extends Device {
  readonly pointer: Pointer;
  /** Buffer type of scratch memory, KV cache and inputs. */
  readonly bufferType: Pointer;
  /** Buffer types for weights, the fastest first; the last takes everything. */
  readonly weightBufferTypes: readonly Pointer[];
}

const extraBufferTypesPrototype = koffi.proto('void* (void* device)');

/** The devices that ggml found, except pure accelerators of the CPU's. */
export function listDevices(ggml: Ggml): GgmlDevice[] {
  const devices: GgmlDevice[] = [];
  for (let i = 0; i < ggml.deviceCount(); i++) {
    const pointer = ggml.deviceAt(i);
    const kind = kindOf(ggml, pointer);
    if (!kind) continue;
    const bufferType = ggml.deviceBufferType(pointer);
    const weightBufferTypes = [...extraBufferTypes(ggml, pointer), bufferType];
    devices.push({
      name: ggml.deviceName(pointer),
      description: ggml.deviceDescription(pointer),
      kind,
      get freeBytes() {
        return memoryOf(ggml, pointer, kind).freeBytes;
      },
      totalBytes: memoryOf(ggml, pointer, kind).totalBytes,
      bufferTypes: weightBufferTypes.map((type) => ggml.bufferTypeName(type)),
      pointer,
      bufferType,
      weightBufferTypes,
    });
  }
  return devices;
}

/**
 * The device to compute on.
 * @throws EngineError 'device' that lists what there is when the wanted kind is not
 */
export function chooseDevice(devices: readonly GgmlDevice[], wanted: DeviceKind): GgmlDevice {
  const found =
    wanted === 'auto'
      ? (devices.find((device) => device.kind !== 'cpu') ?? devices[0])
      : devices.find((device) => device.kind === wanted);
  if (!found)
    throw new EngineError(
      'device',
      `no ${wanted} device on this machine: there is ${devices.map((d) => `${d.kind} (${d.name})`).join(', ') || 'none'}`,
    );
  return found;
}

/** The CPU, where embedding tables are kept. */
export function cpuDevice(devices: readonly GgmlDevice[]): GgmlDevice {
  return chooseDevice(devices, 'cpu');
}

function kindOf(ggml: Ggml, pointer: Pointer): Device['kind'] | undefined {
  const type = ggml.deviceType(pointer);
  if (type === deviceType.cpu) return 'cpu';
  if (type !== deviceType.gpu && type !== deviceType.integratedGpu) return undefined;
  const registry = ggml.registryName(ggml.deviceRegistry(pointer)).toLowerCase();
  if (registry.startsWith('vulkan')) return 'vulkan';
  if (registry.startsWith('cuda')) return 'cuda';
  return registry.startsWith('metal') || registry.startsWith('mtl') ? 'metal' : undefined;
}

function memoryOf(
  ggml: Ggml,
  pointer: Pointer,
  kind: Device['kind'],
): Pick<Device, 'freeBytes' | 'totalBytes'> {
  // ggml calls all of the machine's memory free on the CPU; the system knows better.
  const available = process.availableMemory();
  if (kind === 'cpu') return { freeBytes: available, totalBytes: os.totalmem() };
  const free: [number] = [0];
  const total: [number] = [0];
  ggml.deviceMemory(pointer, free, total);
  // Metal's is the machine's memory: ggml tells how much the GPU may have wired, and not what others use of it.
  const freeBytes = kind === 'metal' ? Math.min(free[0], available) : free[0];
  return { freeBytes, totalBytes: total[0] };
}

/** The first op of a graph that a device cannot compute, as ggml calls it. */
export function unsupportedOp(ggml: Ggml, device: GgmlDevice, graph: Pointer): string | undefined {
  for (let i = 0; i < ggml.graphNodes(graph); i++) {
    const node = ggml.graphNode(graph, i);
    if (!ggml.deviceSupports(device.pointer, node)) return ggml.opDescription(node);
  }
  return undefined;
}

/** AMX and CPU_REPACK: layouts of weights that the CPU multiplies faster (null-terminated array of pointers). */
function extraBufferTypes(ggml: Ggml, device: Pointer): Pointer[] {
  const procedure = ggml.procedure(ggml.deviceRegistry(device), 'ggml_backend_dev_get_extra_bufts');
  if (!procedure) return [];
  const list = koffi.call(procedure, extraBufferTypesPrototype, device) as Pointer | null;
  const found: Pointer[] = [];
  while (list) {
    const type = koffi.decode(list, found.length * 8, 'void*') as Pointer | null;
    if (!type) break;
    found.push(type);
  }
  return found;
}
