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
      ...memoryOf(ggml, pointer, kind),
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
 * @throws EngineError that lists what there is when the wanted kind is not.
 */
export function chooseDevice(devices: readonly GgmlDevice[], wanted: DeviceKind): GgmlDevice {
  const found =
    wanted === 'auto'
      ? (devices.find((device) => device.kind !== 'cpu') ?? devices[0])
      : devices.find((device) => device.kind === wanted);
  if (!found)
    throw new EngineError(
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

function memoryOf(ggml: Ggml, pointer: Pointer, kind: Device['kind']) {
  // ggml calls all of the machine's memory free on the CPU; the system knows better.
  if (kind === 'cpu') return { freeBytes: process.availableMemory(), totalBytes: os.totalmem() };
  const free: [number] = [0];
  const total: [number] = [0];
  ggml.deviceMemory(pointer, free, total);
  return { freeBytes: free[0], totalBytes: total[0] };
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
