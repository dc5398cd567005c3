import koffi, { type KoffiFunc } from 'koffi';
import { EngineError, type EngineErrorCode } from '../../engine.js';
import { incompatible, loadApiTable } from './library.js';

/** Address of an object of ONNX Runtime's: an environment, session, value or binding. Null is a null pointer. */
export type Pointer = bigint;

/** Null for success. */
type Status = Pointer | null;
type Out = [Pointer | null];

/** Values of enum ONNXTensorElementDataType, which are those of TensorProto.DataType. */
export const elementType = { f32: 1, u8: 2, i8: 3, i32: 6, i64: 7, bool: 9 } as const;

/** Severity of messages that ONNX Runtime writes to stderr: fatal. Errors come as statuses. */
const logFatal = 4;

/** Enums OrtAllocatorType, OrtMemType and GraphOptimizationLevel. */
const deviceAllocator = 0;
const defaultMemory = 0;
const optimizeAll = 99;

/** The part of the C API that the engine uses (onnxruntime_c_api.h): index in its table, and prototype. */
const functions = {
  errorMessage: [2, 'const char* (void* status)'],
  createEnvironment: [3, 'void* (int level, const char* id, _Out_ void** out)'],
  disableTelemetry: [6, 'void* (void* environment)'],
  createSession: [8, 'void* (void* env, const void*, size_t, void* options, _Out_ void** out)'],
  createOptions: [10, 'void* (_Out_ void** out)'],
  disableMemoryPattern: [17, 'void* (void* options)'],
  setOptimization: [23, 'void* (void* options, int level)'],
  setThreads: [24, 'void* (void* options, int threads)'],
  createRunOptions: [39, 'void* (_Out_ void** out)'],
  terminate: [46, 'void* (void* runOptions)'],
  unsetTerminate: [47, 'void* (void* runOptions)'],
  allocateValue: [48, 'void* (void* allocator, const int64*, size_t, int type, _Out_ void** out)'],
  createValue: [
    49,
    'void* (void* info, void*, size_t, const int64*, size_t, int type, _Out_ void** out)',
  ],
  createMemoryInfo: [68, 'void* (const char* name, int, int id, int, _Out_ void** out)'],
  createCpuMemoryInfo: [69, 'void* (int allocator, int type, _Out_ void** out)'],
  releaseStatus: [93, 'void (void*)'],
  releaseMemoryInfo: [94, 'void (void*)'],
  releaseSession: [95, 'void (void*)'],
  releaseValue: [96, 'void (void*)'],
  releaseRunOptions: [97, 'void (void*)'],
  releaseOptions: [100, 'void (void*)'],
  availableProviders: [125, 'void* (_Out_ void** names, _Out_ int* count)'],
  releaseProviders: [126, 'void* (void* names, int count)'],
  addConfig: [130, 'void* (void* options, const char* key, const char* value)'],
  createAllocator: [131, 'void* (void* session, void* info, _Out_ void** out)'],
  releaseAllocator: [132, 'void (void*)'],
  run: [133, 'void* (void* session, void* runOptions, void* binding)'],
  createBinding: [134, 'void* (void* session, _Out_ void** out)'],
  releaseBinding: [135, 'void (void*)'],
  bindInput: [136, 'void* (void* binding, const char* name, void* value)'],
  bindOutput: [137, 'void* (void* binding, const char* name, void* value)'],
  addInitializer: [150, 'void* (void* options, const char* name, void* value)'],
  createPackedWeights: [166, 'void* (_Out_ void** out)'],
  releasePackedWeights: [167, 'void (void*)'],
  createSessionWithPackedWeights: [
    169,
    'void* (void* env, const void*, size_t, void* options, void* packed, _Out_ void** out)',
  ],
  appendProvider: [
    216,
    'void* (void* options, const char*, const char** keys, const char** values, size_t)',
  ],
  cancelLoading: [293, 'void* (void* options, bool cancel)'],
} as const;

/** koffi checks arguments at run time against the C prototype. */
type Call = KoffiFunc<(...args: unknown[]) => Status>;

/** ONNX Runtime's C API, as the engine uses it. */
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
  const { library, version, table } = loadApiTable();
  const call = Object.fromEntries(
    Object.entries(functions).map(([name, [index, prototype]]) => {
      const address = koffi.decode(table, index * 8, 'void*') as Pointer | null;
      if (!address) throw incompatible(version);
      return [name, koffi.decode(address, koffi.proto(prototype)) as Call];
    }),
  ) as Record<keyof typeof functions, Call>;
  const errorMessage = call.errorMessage as unknown as (status: Pointer) => string;

  /** @throws EngineError for a status that is not success; one line with `purpose` and the cause */
  const check = (status: Status, purpose: string, code: EngineErrorCode = 'internal'): void => {
    if (!status) return;
    const message = oneLine(errorMessage(status));
    call.releaseStatus(status);
    throw new EngineError(code, `cannot ${purpose}: ${message}`);
  };
  /** Calls a function that hands an object out through its last parameter. */
  const made = (
    call: (out: Out) => Status,
    purpose: string,
    code: EngineErrorCode = 'internal',
  ): Pointer => {
    const out: Out = [null];
    check(call(out), purpose, code);
    return out[0] ?? fail(purpose);
  };
  const release = (name: keyof typeof functions) => (object: Pointer) => void call[name](object);
  /** What holds much memory is released off the event loop. */
  const releaseLarge = (name: keyof typeof functions) => async (object: Pointer) => {
    await asPromise<Status>((done) => call[name].async(object, done));
  };

  const environment = made(
    (out) => call.createEnvironment(logFatal, 'daisychain', out),
    'start ONNX Runtime',
  );
  check(call.disableTelemetry(environment), 'switch telemetry off');
  const cpuMemory = made(
    (out) => call.createCpuMemoryInfo(deviceAllocator, defaultMemory, out),
    'describe CPU memory',
  );

  return {
    /** Keeps the library loaded: koffi unloads one that nobody refers to. */
    library,
    version,
    check,

    /** Names of the providers that this build of the library has. */
    providers(): string[] {
      const count: [number] = [0];
      const names = made((out) => call.availableProviders(out, count), 'list providers');
      const list = koffi.decode(names, koffi.array('char*', count[0])) as string[];
      call.releaseProviders(names, count[0]);
      return list;
    },

    newSessionOptions(threads: number): Pointer {
      const options = made((out) => call.createOptions(out), 'make session options');
      try {
        check(call.setOptimization(options, optimizeAll), 'set the optimization level');
        check(call.setThreads(options, threads), 'set the number of threads');
        return options;
      } catch (error) {
        call.releaseOptions(options);
        throw error;
      }
    },
    disableMemoryPattern: (options: Pointer) =>
      check(call.disableMemoryPattern(options), 'switch memory patterns off'),
    addConfig: (options: Pointer, key: string, value: string) =>
      check(call.addConfig(options, key, value), `set ${key}`),
    /** @throws EngineError 'device' with the cause when the provider is not in this build, or finds no device */
    appendProvider(options: Pointer, name: string, settings: Readonly<Record<string, string>>) {
      const [keys, values] = [Object.keys(settings), Object.values(settings)];
      const status = call.appendProvider(options, name, keys, values, keys.length);
      check(status, `use ${name}`, 'device');
    },
    /** Has the model's constant of this name be a value of the caller's, who keeps it while sessions use it. */
    addInitializer: (options: Pointer, name: string, value: Pointer) =>
      check(call.addInitializer(options, name, value), `share ${name}`),
    /** Makes `newSession` with these options, also one under way on another thread, fail early. */
    cancelLoading: (options: Pointer) =>
      check(call.cancelLoading(options, true), 'give up loading'),
    releaseSessionOptions: release('releaseOptions'),

    /** What holds the weights of several sessions as kernels want them, once. */
    newPackedWeights: () => made((out) => call.createPackedWeights(out), 'share weights'),
    releasePackedWeights: releaseLarge('releasePackedWeights'),

    /**
     * Loads a model off the event loop.
     * @param packed holds the weights of initializers that were added
     * @throws EngineError 'unsupported' that says what is wrong with it
     */
    async newSession(model: Uint8Array, options: Pointer, packed?: Pointer): Promise<Pointer> {
      const out: Out = [null];
      const status = await asPromise<Status>((done) =>
        packed === undefined
          ? call.createSession.async(environment, model, model.byteLength, options, out, done)
          : call.createSessionWithPackedWeights.async(
              ...[environment, model, model.byteLength, options, packed, out],
              done,
            ),
      );
      check(status, 'load the model', 'unsupported');
      return out[0] ?? fail('load the model');
    },
    releaseSession: releaseLarge('releaseSession'),

    newRunOptions: () => made((out) => call.createRunOptions(out), 'make run options'),
    /** Makes a run with these options end early, also one under way on another thread. */
    terminate: (options: Pointer, isOn: boolean) =>
      check((isOn ? call.terminate : call.unsetTerminate)(options), 'give up a run'),
    releaseRunOptions: release('releaseRunOptions'),
    /** Runs a session off the event loop on what is bound. @throws EngineError 'compute' */
    async run(session: Pointer, options: Pointer, binding: Pointer): Promise<void> {
      const status = await asPromise<Status>((done) =>
        call.run.async(session, options, binding, done),
      );
      check(status, 'compute a step', 'compute');
    },
    /** The same on this thread. @throws EngineError 'compute' */
    runNow: (session: Pointer, options: Pointer, binding: Pointer) =>
      check(call.run(session, options, binding), 'compute a step', 'compute'),

    /** A tensor over memory of the caller's, who keeps it where it is while the value lives. @param address of it */
    newValue(address: Pointer, bytes: number, shape: readonly number[], type: number): Pointer {
      const dimensions = dimensionsOf(shape);
      return made(
        (out) => call.createValue(cpuMemory, address, bytes, dimensions, shape.length, type, out),
        'make a tensor',
      );
    },
    /** A tensor in memory of a session's provider. @throws EngineError 'memory' when there is not enough */
    newDeviceValue(allocator: Pointer, shape: readonly number[], type: number): Pointer {
      const dimensions = dimensionsOf(shape);
      return made(
        (out) => call.allocateValue(allocator, dimensions, shape.length, type, out),
        'allocate device memory',
        'memory',
      );
    },
    releaseValue: release('releaseValue'),
    newMemoryInfo: (name: string) =>
      made(
        (out) => call.createMemoryInfo(name, deviceAllocator, 0, defaultMemory, out),
        'describe device memory',
      ),
    releaseMemoryInfo: release('releaseMemoryInfo'),
    newAllocator: (session: Pointer, info: Pointer) =>
      made((out) => call.createAllocator(session, info, out), 'make a device allocator'),
    releaseAllocator: release('releaseAllocator'),

    newBinding: (session: Pointer) =>
      made((out) => call.createBinding(session, out), 'make a binding'),
    bindInput: (binding: Pointer, name: string, value: Pointer) =>
      check(call.bindInput(binding, name, value), `bind ${name}`),
    bindOutput: (binding: Pointer, name: string, value: Pointer) =>
      check(call.bindOutput(binding, name, value), `bind ${name}`),
    releaseBinding: release('releaseBinding'),
  };
}

function fail(purpose: string): never {
  throw new EngineError('internal', `cannot ${purpose}: ONNX Runtime gave nothing`);
}

/** Calls a function of koffi's that takes a callback. */
function asPromise<Result>(
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
