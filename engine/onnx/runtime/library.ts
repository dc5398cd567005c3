import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import koffi, { type LibraryHandle } from 'koffi';
import '../../../model/native/call-stack.js';
import { EngineError } from '../../engine.js';

/** The version whose behaviour the engine was written for and tested with. */
const packageVersion = '1.30.0';

const packageName = 'onnxruntime-node';

/** The version of the function table that is asked for; tables only grow. */
const apiVersion = 22;

/** ONNX Runtime's C API: a struct of function pointers. */
export interface ApiTable {
  /** Keeps the library loaded: koffi unloads one that nobody refers to. */
  readonly library: LibraryHandle;
  readonly version: string;
  /** Address of the struct. */
  readonly table: bigint;
}

/** @throws EngineError 'device' when the library is not installed, 'internal' when it is of another make than expected */
export function loadApiTable(): ApiTable {
  const library = koffi.load(findOnnxRuntime());
  const baseType = koffi.struct({ GetApi: 'void*', GetVersionString: 'void*' });
  const base = koffi.decode(library.func('void* OrtGetApiBase()')(), baseType) as {
    GetApi: bigint;
    GetVersionString: bigint;
  };
  const getVersion = koffi.decode(
    base.GetVersionString,
    koffi.proto('const char* ()'),
  ) as () => string;
  const getApi = koffi.decode(base.GetApi, koffi.proto('void* (uint32)')) as (
    version: number,
  ) => bigint | null;
  const version = getVersion();
  // Asking a library for a table that it does not have makes it complain on stderr.
  if (!(Number(/^1\.(\d+)\./.exec(version)?.[1]) >= apiVersion)) throw incompatible(version);
  const table = getApi(apiVersion);
  if (!table) throw incompatible(version);
  return { library, version, table };
}

/** Says that the library lacks what the engine needs. */
export function incompatible(version: string): EngineError {
  return new EngineError(
    'internal',
    `ONNX Runtime ${version} lacks functions of 1.${apiVersion}: run npm install again`,
  );
}

/**
 * Path of ONNX Runtime's shared library for this OS and CPU: onnxruntime-node brings one for each, and its install
 * script would only add CUDA.
 * @throws EngineError 'device' when the package is not installed, or has none for this platform
 */
function findOnnxRuntime(): string {
  const platform = `${process.platform}/${process.arch}`;
  const bin = path.join(packageFolder(), 'bin');
  // The folder between is named after the version of Node-API that the package's own binding, unused here, needs.
  for (const folder of fs.readdirSync(bin)) {
    const binaries = path.join(bin, folder, platform);
    const library = fs.existsSync(binaries) && findLibrary(fs.readdirSync(binaries));
    if (library) return path.join(binaries, library);
  }
  throw new EngineError(
    'device',
    `${packageName} has no library for ${platform}: use --engine ggml`,
  );
}

/** libonnxruntime.so.1, libonnxruntime.1.dylib, onnxruntime.dll. */
export function findLibrary(files: readonly string[]): string | undefined {
  return files.find((name) => /^(lib)?onnxruntime\.(so\.\d+|\d+\.dylib|dll)$/.test(name));
}

function packageFolder(): string {
  try {
    return path.dirname(createRequire(import.meta.url).resolve(`${packageName}/package.json`));
  } catch (cause) {
    throw new EngineError(
      'device',
      `${packageName} is not installed: npm install --ignore-scripts ${packageName}@${packageVersion}, or use --engine ggml`,
      { cause },
    );
  }
}
