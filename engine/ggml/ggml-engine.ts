import os from 'node:os';
import { architectureOf } from '../../model/architectures/registry.js';
import type { LibraryVariant } from '../../model/native/libraries.js';
import type { Device, DeviceKind, Engine, Stage, StageMemory, StageOptions } from '../engine.js';
import { estimateStageMemory } from '../memory.js';
import { bindGgml } from './bindings.js';
import { chooseDevice, cpuDevice, listDevices } from './devices.js';
import { GgmlStage, type GgmlContext } from './ggml-stage.js';
import { Turns } from '../turns.js';

/** What to compute on. */
export interface GgmlEngineOptions {
  readonly device: DeviceKind;
  /** CPU threads per step; default: one per core. */
  readonly threads?: number;
}

/**
 * The default engine: ggml, the tensor library of llama.cpp, through its C API.
 * @throws ModelError when its libraries are not installed, EngineError when the device is not there.
 */
export function openGgmlEngine(options: GgmlEngineOptions): Engine {
  const ggml = bindGgml(variantFor(options.device));
  const devices = listDevices(ggml);
  const context: GgmlContext = {
    ggml,
    device: chooseDevice(devices, options.device),
    cpu: cpuDevice(devices),
    threads: options.threads ?? os.availableParallelism(),
    turns: new Turns(),
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

  estimate(options: Omit<StageOptions, 'onProgress'>): StageMemory {
    return estimateStageMemory(
      options,
      architectureOf(options.source).hyperparameters(options.source),
    );
  }

  load(options: StageOptions): Promise<Stage> {
    return GgmlStage.load(this.context, options);
  }
}
