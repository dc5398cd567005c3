import { expect, test } from 'vitest';
import { findLibrary } from '../../model/native/libraries.js';

const packages = {
  'linux-x64': [
    'libggml-base.so',
    'libggml-cpu-zen4.so',
    'libggml.v0.4.0.so',
    'libllama-common.so',
    'libllama.v0.4.0.so',
  ],
  'linux-x64-vulkan': [
    'libggml-base.so',
    'libggml-vulkan.so',
    'libggml.vulkan.v0.4.0.so',
    'libllama.vulkan.v0.4.0.so',
  ],
  'mac-arm64-metal': [
    'libggml-base.dylib',
    'libggml-metal.so',
    'libggml.metal.v0.4.0.dylib',
    'libllama-common.dylib',
    'libllama.metal.v0.4.0.dylib',
  ],
  'win-x64': [
    'ggml-base.dll',
    'ggml-cpu-x64.dll',
    'ggml.v0.4.0.dll',
    'llama-common.dll',
    'llama.v0.4.0.dll',
  ],
};

test.each(Object.entries(packages))('the libraries of %s are found by their stems', (_, files) => {
  expect(findLibrary(files, 'ggml-base')).toMatch(/ggml-base\.(so|dylib|dll)$/);
  expect(findLibrary(files, 'ggml')).toMatch(/ggml(\.[a-z]+)?\.v0/);
  expect(findLibrary(files, 'llama')).toMatch(/llama(\.[a-z]+)?\.v0/);
  expect(findLibrary(files, 'onnxruntime')).toBeUndefined();
});
