import koffi, { type LibraryHandle } from 'koffi';
import '../../model/native/call-stack.js';
import { EngineError } from '../engine.js';
import { findOnnxRuntime } from './library.js';

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

/** @throws EngineError when the library is not installed, or of another make than was expected */
export function loadTable(): ApiTable {
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
    `ONNX Runtime ${version} lacks functions of 1.${apiVersion}: run npm install again`,
  );
}
