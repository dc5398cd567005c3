import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { EngineError } from '../engine.js';

/** The version whose behaviour the engine was written for and tested with. */
export const packageVersion = '1.30.0';

const packageName = 'onnxruntime-node';

/**
 * Path of ONNX Runtime's shared library for this OS and CPU: onnxruntime-node brings one for each, and its install
 * script would only add CUDA.
 * @throws EngineError when the package is not installed, or has none for this platform
 */
export function findOnnxRuntime(): string {
  const platform = `${process.platform}/${process.arch}`;
  const bin = path.join(packageFolder(), 'bin');
  // The folder between is named after the version of Node-API that the package's own binding, unused here, needs.
  for (const folder of fs.readdirSync(bin)) {
    const binaries = path.join(bin, folder, platform);
    const library = fs.existsSync(binaries) && findLibrary(fs.readdirSync(binaries));
    if (library) return path.join(binaries, library);
  }
  throw new EngineError(`${packageName} has no library for ${platform}: use --engine ggml`);
}

/** libonnxruntime.so.1, libonnxruntime.1.dylib, onnxruntime.dll. */
export function findLibrary(files: readonly string[]): string | undefined {
  return files.find((name) => /^(lib)?onnxruntime\.(so\.\d+|\d+\.dylib|dll)$/.test(name));
}

function packageFolder(): string {
  try {
    return path.dirname(createRequire(import.meta.url).resolve(`${packageName}/package.json`));
  } catch {
    throw new EngineError(
      `${packageName} is not installed: npm install --ignore-scripts ${packageName}@${packageVersion}, or use --engine ggml`,
    );
  }
}
