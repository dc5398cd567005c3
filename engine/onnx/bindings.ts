import koffi, { type KoffiFunc } from 'koffi';
import { EngineError } from '../engine.js';
import { incompatible, loadTable } from './api-table.js';

/** Address of an object of ONNX Runtime's: an environment, session, value or binding. Null is a null pointer. */
export type Pointer = bigint;

/** Values of enum ONNXTensorElementDataType, which are those of TensorProto.DataType. */
export const elementType = { f32: 1, u8: 2, i8: 3, i32: 6, i64: 7, bool: 9 } as const;

/** Severity of messages that ONNX Runtime writes to stderr: fatal. Errors come as statuses. */
const logFatal = 4;

/** Enums OrtAllocatorType, OrtMemType and GraphOptimizationLevel. */
const deviceAllocator = 0;
const defaultMemory = 0;
const optimizeAll = 99;

type Out = [Pointer | null];

/** The part of ONNX Runtime's C API that the engine uses (onnxruntime_c_api.h). */
export type OnnxRuntime = ReturnType<typeof bind>;

let bound: OnnxRuntime | undefined;

/**
 * Loads the library and binds its functions, once per process.
 * @throws EngineError when it is not installed, or of another make than was expected
 */
export function bindOnnxRuntime(): OnnxRuntime {
  return (bound ??= bind());
}

function bind() {
  const { library, version, table } = loadTable();
  // koffi checks arguments at run time against the C prototype; the TypeScript type is ours to keep in step.
  const at = <T extends (...args: never[]) => unknown>(index: number, prototype: string) => {
    const address = koffi.decode(table, index * 8, 'void*') as Pointer | null;
    if (!address) throw incompatible(version);
    return koffi.decode(address, koffi.proto(prototype)) as KoffiFunc<T>;
  };
  const release = (index: number) => at<(object: Pointer) => void>(index, 'void (void*)');

  const errorMessage = at<(status: Pointer) => string>(2, 'const char* (void*)');
  const releaseStatus = release(93);

  /** @throws EngineError for a status that is not success; one line with `purpose` and the cause */
  const check = (status: Pointer | null, purpose: string): void => {
    if (!status) return;
    const message = oneLine(errorMessage(status));
    releaseStatus(status);
    throw new EngineError(`cannot ${purpose}: ${message}`);
  };
  /** Calls a function that hands an object out through its last parameter. */
  const made = (call: (out: Out) => Pointer | null, purpose: string): Pointer => {
    const out: Out = [null];
    check(call(out), purpose);
    if (out[0] === null) throw new EngineError(`cannot ${purpose}: ONNX Runtime gave nothing`);
    return out[0];
  };

  const createEnvironment = at<(level: number, id: string, out: Out) => Pointer | null>(
    3,
    'void* (int, const char*, _Out_ void**)',
  );
  const environment = made(
    (out) => createEnvironment(logFatal, 'daisychain', out),
    'start ONNX Runtime',
  );
  check(
    at<(environment: Pointer) => Pointer | null>(6, 'void* (void*)')(environment),
    'switch telemetry off',
  );
  const createCpuMemoryInfo = at<(allocator: number, type: number, out: Out) => Pointer | null>(
    69,
    'void* (int, int, _Out_ void**)',
  );
  const cpuMemory = made(
    (out) => createCpuMemoryInfo(deviceAllocator, defaultMemory, out),
    'describe CPU memory',
  );

  const createOptions = at<(out: Out) => Pointer | null>(10, 'void* (_Out_ void**)');
  const setOptimization = at<(options: Pointer, level: number) => Pointer | null>(
    23,
    'void* (void*, int)',
  );
  const setThreads = at<(options: Pointer, threads: number) => Pointer | null>(
    24,
    'void* (void*, int)',
  );
  const disableMemoryPattern = at<(options: Pointer) => Pointer | null>(17, 'void* (void*)');
  const addConfig = at<(options: Pointer, key: string, value: string) => Pointer | null>(
    130,
    'void* (void*, const char*, const char*)',
  );
  const appendProvider = at<
    (
      options: Pointer,
      name: string,
      keys: readonly string[],
      values: readonly string[],
      count: number,
    ) => Pointer | null
  >(216, 'void* (void*, const char*, const char**, const char**, size_t)');
  const createSession = at<
    (
      environment: Pointer,
      model: Uint8Array,
      bytes: number,
      options: Pointer,
      out: Out,
    ) => Pointer | null
  >(8, 'void* (void*, const void*, size_t, void*, _Out_ void**)');

  const createRunOptions = at<(out: Out) => Pointer | null>(39, 'void* (_Out_ void**)');
  const createValue = at<
    (
      memory: Pointer,
      data: ArrayBufferView | Pointer,
      bytes: number,
      dimensions: BigInt64Array,
      rank: number,
      type: number,
      out: Out,
    ) => Pointer | null
  >(49, 'void* (void*, void*, size_t, const int64*, size_t, int, _Out_ void**)');
  const allocateValue = at<
    (
      allocator: Pointer,
      dimensions: BigInt64Array,
      rank: number,
      type: number,
      out: Out,
    ) => Pointer | null
  >(48, 'void* (void*, const int64*, size_t, int, _Out_ void**)');
  const createMemoryInfo = at<
    (name: string, allocator: number, id: number, type: number, out: Out) => Pointer | null
  >(68, 'void* (const char*, int, int, int, _Out_ void**)');
  const createAllocator = at<(session: Pointer, memory: Pointer, out: Out) => Pointer | null>(
    131,
    'void* (void*, void*, _Out_ void**)',
  );
  const createBinding = at<(session: Pointer, out: Out) => Pointer | null>(
    134,
    'void* (void*, _Out_ void**)',
  );
  const bindValue = '(void*, const char*, void*)';
  const bindInput = at<(binding: Pointer, name: string, value: Pointer) => Pointer | null>(
    136,
    `void* ${bindValue}`,
  );
  const bindOutput = at<(binding: Pointer, name: string, value: Pointer) => Pointer | null>(
    137,
    `void* ${bindValue}`,
  );
  const availableProviders = at<(names: Out, count: [number]) => Pointer | null>(
    125,
    'void* (_Out_ void**, _Out_ int*)',
  );
  const releaseProviders = at<(names: Pointer, count: number) => Pointer | null>(
    126,
    'void* (void*, int)',
  );
  const terminate = at<(options: Pointer) => Pointer | null>(46, 'void* (void*)');
  const unsetTerminate = at<(options: Pointer) => Pointer | null>(47, 'void* (void*)');

  return {
    /** Keeps the library loaded: koffi unloads one that nobody refers to. */
    library,
    version,
    check,
    releaseStatus,

    /** Names of the providers that this build of the library has. */
    providers(): string[] {
      const count: [number] = [0];
      const names = made((out) => availableProviders(out, count), 'list providers');
      const list = koffi.decode(names, koffi.array('char*', count[0])) as string[];
      releaseProviders(names, count[0]);
      return list;
    },

    newSessionOptions(threads: number): Pointer {
      const options = made(createOptions, 'make session options');
      check(setOptimization(options, optimizeAll), 'set the optimization level');
      check(setThreads(options, threads), 'set the number of threads');
      return options;
    },
    disableMemoryPattern: (options: Pointer) =>
      check(disableMemoryPattern(options), 'switch memory patterns off'),
    addConfig: (options: Pointer, key: string, value: string) =>
      check(addConfig(options, key, value), `set ${key}`),
    /** @throws EngineError with the cause when the provider is not in this build, or finds no device */
    appendProvider: (options: Pointer, name: string, settings: Readonly<Record<string, string>>) =>
      check(
        appendProvider(
          options,
          name,
          Object.keys(settings),
          Object.values(settings),
          Object.keys(settings).length,
        ),
        `use ${name}`,
      ),
    releaseSessionOptions: release(100),

    /** Loads a model off the event loop. @throws EngineError that says what is wrong with it */
    async newSession(model: Uint8Array, options: Pointer): Promise<Pointer> {
      const out: Out = [null];
      const status = await asPromise<Pointer | null>((done) =>
        createSession.async(environment, model, model.byteLength, options, out, done),
      );
      check(status, 'load the model');
      return out[0] as Pointer;
    },
    releaseSession: release(95),

    newRunOptions: () => made(createRunOptions, 'make run options'),
    /** Makes a run with these options end early, also one under way on another thread. */
    terminate: (options: Pointer, isOn: boolean) =>
      check((isOn ? terminate : unsetTerminate)(options), 'give up a run'),
    releaseRunOptions: release(97),

    /** A tensor over memory of the caller's, who keeps it where it is while the value lives. */
    newValue(data: ArrayBufferView, offset: number, shape: readonly number[], type: number) {
      const address = koffi.address(data) + BigInt(offset);
      const dimensions = dimensionsOf(shape);
      const bytes = data.byteLength - offset;
      return made(
        (out) => createValue(cpuMemory, address, bytes, dimensions, shape.length, type, out),
        'make a tensor',
      );
    },
    /** A tensor in memory of a session's provider. @throws EngineError when there is not enough */
    newDeviceValue(allocator: Pointer, shape: readonly number[], type: number): Pointer {
      const dimensions = dimensionsOf(shape);
      return made(
        (out) => allocateValue(allocator, dimensions, shape.length, type, out),
        'allocate device memory',
      );
    },
    releaseValue: release(96),
    newMemoryInfo: (name: string) =>
      made(
        (out) => createMemoryInfo(name, deviceAllocator, 0, defaultMemory, out),
        'describe device memory',
      ),
    releaseMemoryInfo: release(94),
    newAllocator: (session: Pointer, memory: Pointer) =>
      made((out) => createAllocator(session, memory, out), 'make a device allocator'),
    releaseAllocator: release(132),

    newBinding: (session: Pointer) => made((out) => createBinding(session, out), 'make a binding'),
    bindInput: (binding: Pointer, name: string, value: Pointer) =>
      check(bindInput(binding, name, value), `bind ${name}`),
    bindOutput: (binding: Pointer, name: string, value: Pointer) =>
      check(bindOutput(binding, name, value), `bind ${name}`),
    releaseBinding: release(135),
    run: at<(session: Pointer, options: Pointer, binding: Pointer) => Pointer | null>(
      133,
      'void* (void*, void*, void*)',
    ),
  };
}

/** Calls a function of koffi's that takes a callback. */
export function asPromise<Result>(
  call: (done: (error: Error | null, result: Result) => void) => void,
): Promise<Result> {
  return new Promise((resolve, reject) =>
    call((error, result) => (error ? reject(error) : resolve(result))),
  );
}

function dimensionsOf(shape: readonly number[]): BigInt64Array {
  return BigInt64Array.from(shape, BigInt);
}

/** A failed check of the library's own begins with its place in the source and the condition. */
function oneLine(message: string): string {
  return message
    .replace(/\s+/g, ' ')
    .replace(/^\S+:\d+ .* was false\. /, '')
    .trim();
}
