import os from 'node:os';
import type { Device, Engine, Stage, StageMemory, StageOptions, StageSizes } from '../engine.js';
import { bindOnnxRuntime } from './runtime/api.js';
import { estimateOnnxMemory } from './memory-estimate.js';
import { OnnxStage, type OnnxContext } from './onnx-stage.js';
import { checkProvider } from './probe.js';
import { providerNamed, type ProviderName } from './providers.js';
import { MatrixCache } from './weights/matrix-cache.js';

/** What to compute with, and where. */
export interface OnnxEngineOptions {
  readonly provider: ProviderName;
  /** CPU threads per step; default: one per core. */
  readonly threads?: number;
  /** Where weights are kept as the engine computes with them. */
  readonly cacheDirectory: string;
  /** Whether types that the engine cannot compute with exactly may become 8 bits; otherwise they are refused. */
  readonly requantize?: boolean;
  /** Is told in one line of what went wrong and was put right, such as a damaged file that is packed again. */
  readonly warn?: (message: string) => void;
}

/**
 * The second engine: ONNX Runtime, through the C API of the library that onnxruntime-node brings.
 * @throws EngineError when the package is not installed, or the provider cannot be used here
 */
export function openOnnxEngine(options: OnnxEngineOptions): Engine {
  const runtime = bindOnnxRuntime();
  checkProvider(options.provider);
  const threads = options.threads ?? os.availableParallelism();
  return new OnnxEngine({
    runtime,
    provider: providerNamed(options.provider),
    threads,
    matrices: new MatrixCache(options.cacheDirectory, { threads, warn: options.warn }),
    requantize: options.requantize ?? false,
  });
}

class OnnxEngine implements Engine {
  readonly name = 'onnx';
  readonly versions: Readonly<Record<string, string>>;

  constructor(private readonly context: OnnxContext) {
    this.versions = { onnxruntime: context.runtime.version };
  }

  get device(): Device {
    const { name, kind, description } = this.context.provider;
    return {
      name: `onnx/${name}`,
      kind,
      description,
      get freeBytes() {
        return process.availableMemory();
      },
      totalBytes: os.totalmem(),
      bufferTypes: ['memory of ONNX Runtime'],
    };
  }

  get threads(): number {
    return this.context.threads;
  }

  devices(): readonly Device[] {
    return [this.device];
  }

  estimate(sizes: StageSizes): StageMemory {
    return estimateOnnxMemory(sizes);
  }

  load(options: StageOptions): Promise<Stage> {
    return OnnxStage.load(this.context, options);
  }
}
