import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import koffi, { type LibraryHandle } from 'koffi';
import { ModelError } from '../errors.js';
import './call-stack.js';

/** The version of the platform packages that our struct layouts and function signatures were written for. */
export const librariesVersion = '3.21.1';

/** The shared libraries of llama.cpp, bound once per process. */
export interface NativeLibraries {
  /** Folder that holds the libraries and the CPU variants that ggml chooses from. */
  readonly directory: string;
  /** Name of the npm package that they come from. */
  readonly packageName: string;
  readonly ggmlBase: LibraryHandle;
  readonly ggml: LibraryHandle;
  readonly llama: LibraryHandle;
}

/** Accelerator builds; `default` is Metal on Apple silicon and CPU elsewhere. */
export type LibraryVariant = 'default' | 'vulkan' | 'cuda';

const defaultPackages: Record<string, string> = {
  'linux-x64': 'linux-x64',
  'linux-arm64': 'linux-arm64',
  'darwin-arm64': 'mac-arm64-metal',
  'darwin-x64': 'mac-x64',
  'win32-x64': 'win-x64',
  'win32-arm64': 'win-arm64',
};

let loaded: { variant: LibraryVariant; libraries: NativeLibraries } | undefined;

/**
 * Loads the libraries for this OS and CPU, and ggml's backends with them. ggml keeps its backends in one
 * process-wide registry, so the first variant that is loaded is the one this process uses.
 * @throws ModelError when the package is not installed, or another variant is loaded already.
 */
export function loadNativeLibraries(variant: LibraryVariant = 'default'): NativeLibraries {
  if (loaded) {
    if (variant !== 'default' && variant !== loaded.variant)
      throw new ModelError(
        'library',
        `this process runs ggml's ${loaded.variant} build already: start another process for ${variant}`,
      );
    return loaded.libraries;
  }
  const packageName = platformPackage(variant);
  const directory = packageDirectory(packageName);
  const open = (stem: string) => load(path.join(directory, libraryFile(directory, stem)));
  const libraries = {
    directory,
    packageName,
    ggmlBase: open('ggml-base'),
    ggml: open('ggml'),
    llama: open('llama'),
  };
  silenceLogs(libraries);
  libraries.ggml.func('void ggml_backend_load_all_from_path(const char*)')(directory);
  loaded = { variant, libraries };
  return libraries;
}

/**
 * Loads only the library with ggml's types, which has no backends: for threads beside the main one, as ggml registers
 * its backends once per process.
 * @throws ModelError when the package is not installed
 */
export function loadGgmlBase(): LibraryHandle {
  if (loaded) return loaded.libraries.ggmlBase;
  const directory = packageDirectory(platformPackage('default'));
  // koffi unloads a library that nobody refers to.
  return (ggmlBase ??= load(path.join(directory, libraryFile(directory, 'ggml-base'))));
}

let ggmlBase: LibraryHandle | undefined;

function load(file: string): LibraryHandle {
  try {
    return koffi.load(file);
  } catch (cause) {
    const [reason] = (cause as Error).message.split('\n');
    throw new ModelError('library', `cannot load ${file}: ${reason}`, { cause });
  }
}

function platformPackage(variant: LibraryVariant): string {
  const platform = `${process.platform}-${process.arch}`;
  const name = defaultPackages[platform];
  if (!name)
    throw new ModelError(
      'library',
      `no ggml build for ${platform}: use one of ${Object.keys(defaultPackages).join(', ')}`,
    );
  return `@node-llama-cpp/${variant === 'default' ? name : `${name}-${variant}`}`;
}

/** The packages export no path, so their folder is looked up along the ones Node would search. */
function packageDirectory(packageName: string): string {
  const require = createRequire(import.meta.url);
  for (const folder of require.resolve.paths(packageName) ?? []) {
    const bins = path.join(folder, packageName, 'bins');
    if (!fs.existsSync(bins)) continue;
    const build = fs.readdirSync(bins)[0];
    if (build) return path.join(bins, build);
  }
  throw new ModelError(
    'library',
    `${packageName} is not installed: npm install ${packageName}@${librariesVersion}`,
  );
}

function libraryFile(directory: string, stem: string): string {
  const file = findLibrary(fs.readdirSync(directory), stem);
  if (!file)
    throw new ModelError('library', `no ${stem} library in ${directory}: run npm install again`);
  return file;
}

/** Library names carry a variant and a version: libggml.v0.4.0.so, libggml.metal.v0.4.0.dylib, ggml-base.dll. */
export function findLibrary(files: readonly string[], stem: string): string | undefined {
  const pattern = new RegExp(`^(lib)?${stem}(\\.[a-z]+)?(\\.v[\\d.]+)?\\.(so|dylib|dll)$`);
  return files.find((name) => pattern.test(name));
}

/**
 * ggml logs to stderr unless told otherwise, also from its compute threads and while the process exits, where no
 * JavaScript can run. So the callback is native: ggml_time_init, which ignores its arguments and does nothing harmful.
 */
function silenceLogs({ ggmlBase, llama }: Omit<NativeLibraries, 'directory'>): void {
  const nothing = ggmlBase.symbol('ggml_time_init') as bigint;
  ggmlBase.func('void ggml_log_set(void*, void*)')(nothing, null);
  llama.func('void llama_log_set(void*, void*)')(nothing, null);
}
