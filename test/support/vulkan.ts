import { createRequire } from 'node:module';
import { openGgmlEngine } from '../../engine/ggml/ggml-engine.js';

// Software Vulkan is no GPU, but its buffers are no host memory: the path that Metal and CUDA take.
process.env.GGML_VK_VISIBLE_DEVICES ??= '0';

/** Why the device path cannot be tested here; undefined when it can. */
export function missingForVulkan(): string | undefined {
  try {
    createRequire(import.meta.url).resolve('@node-llama-cpp/linux-x64-vulkan/package.json');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND')
      return '@node-llama-cpp/linux-x64-vulkan is not installed';
  }
  try {
    openGgmlEngine({ device: 'vulkan' });
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
