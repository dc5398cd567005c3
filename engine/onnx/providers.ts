import type { Device } from '../engine.js';
import type { OnnxRuntime, Pointer } from './runtime/api.js';

/** Which of ONNX Runtime's execution providers computes. What it lacks, the CPU computes. */
export type ProviderName = 'cpu' | 'webgpu' | 'coreml' | 'dml';
export const providerNames: readonly ProviderName[] = ['cpu', 'webgpu', 'coreml', 'dml'];

/** An execution provider. */
export interface Provider {
  readonly name: ProviderName;
  readonly description: string;
  readonly kind: Device['kind'];
  /** Its name in the list of those that a build has. */
  readonly buildName: string;
  /** For whom builds have it. */
  readonly platforms: string;
  /** Memory of its own, where keys and values are kept; without it they are in the process's. */
  readonly memoryName?: string;
  /** @throws EngineError with the cause when it cannot be used here */
  addTo(runtime: OnnxRuntime, sessionOptions: Pointer): void;
}

const providers: Readonly<Record<ProviderName, Provider>> = {
  cpu: {
    name: 'cpu',
    description: "MLAS, ONNX Runtime's own kernels",
    kind: 'cpu',
    buildName: 'CPUExecutionProvider',
    platforms: 'every platform',
    addTo: () => undefined,
  },
  webgpu: {
    name: 'webgpu',
    description: 'Dawn: Metal, Vulkan or Direct3D 12',
    kind: 'webgpu',
    buildName: 'WebGpuExecutionProvider',
    platforms: 'macOS, Windows and Linux on x64',
    memoryName: 'WebGPU_Buffer',
    addTo: (runtime, options) => runtime.appendProvider(options, 'WebGPU', {}),
  },
  coreml: {
    name: 'coreml',
    description: 'Core ML: GPU and neural engine of Apple machines',
    kind: 'coreml',
    buildName: 'CoreMLExecutionProvider',
    platforms: 'macOS',
    addTo: (runtime, options) =>
      runtime.appendProvider(options, 'CoreML', { ModelFormat: 'MLProgram' }),
  },
  dml: {
    name: 'dml',
    description: 'DirectML: any GPU with Direct3D 12',
    kind: 'dml',
    buildName: 'DmlExecutionProvider',
    platforms: 'Windows',
    addTo: (runtime, options) => {
      // DirectML plans its memory itself.
      runtime.disableMemoryPattern(options);
      runtime.appendProvider(options, 'DML', {});
    },
  },
};

export function providerNamed(name: ProviderName): Provider {
  return providers[name];
}
