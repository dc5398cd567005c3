import os from 'node:os';
import type { LibraryVariant } from '../../model/native/libraries.js';
import type {
  Device,
  DeviceKind,
  Engine,
  Stage,
  StageMemory,
  StageOptions,
  StageSizes,
} from '../engine.js';
import { bindGgml } from './bindings.js';
import { chooseDevice, cpuDevice, listDevices } from './devices.js';
import { GgmlStage, type GgmlContext } from './ggml-stage.js';
import { estimateGgmlMemory } from './memory-estimate.js';

/** What to compute on. */
export interface GgmlEngineOptions {
  readonly device: DeviceKind;
  /** CPU threads per step; default: one per core. */
  readonly threads?: number;
}

/**
 * The default engine: ggml, the tensor library of llama.cpp, through its C API.
 * @throws ModelError when its libraries are not installed, EngineError 'device' when the device is not there
 */
export function openGgmlEngine(options: GgmlEngineOptions): Engine {
  const ggml = bindGgml(variantFor(options.device));
  const devices = listDevices(ggml);
  const context: GgmlContext = {
    ggml,
    device: chooseDevice(devices, options.device),
    cpu: cpuDevice(devices),
    threads: options.threads ?? os.availableParallelism(),
    knownRules: new Map(),
    knownAttention: new Map(),
  };
  return new GgmlEngine(context, devices);
}

/** Metal is in the default build for Apple silicon; Vulkan and CUDA come in packages of their own. */
function variantFor(device: DeviceKind): LibraryVariant {
  return device === 'vulkan' || device === 'cuda' ? device : 'default';
}

class GgmlEngine implements Engine {
  readonly name = 'ggml';
  readonly versions: Readonly<Record<string, string>>;

  constructor(
    private readonly context: GgmlContext,
    private readonly all: readonly Device[],
  ) {
    this.versions = { ggml: context.ggml.version(), package: context.ggml.packageName };
  }

  get device(): Device {
    return this.context.device;
  }

  get threads(): number {
    return this.context.threads;
  }

  devices(): readonly Device[] {
    return this.all;
  }

  estimate(sizes: StageSizes): StageMemory {
    return estimateGgmlMemory(sizes, this.device);
  }

  load(options: StageOptions): Promise<Stage> {
    return GgmlStage.load(this.context, options);
  }
}
