import koffi, { type KoffiFunc, type TypeObject } from 'koffi';
import { TransportError } from '../errors.js';
import { layoutDifferences, offsetOf } from './layouts.js';

/** Address of an object of the library's, or of memory. Null is a null pointer. */
export type Pointer = bigint;

/** Values of verbs.h. */
export const verbsValues = {
  accessLocalWrite: 1,
  send: 2,
  sendSignaled: 2,
  kinds: { rc: 2, uc: 3 },
  states: { init: 1, readyToReceive: 2, readyToSend: 3 },
  portActive: 4,
  mtu1024: 3,
  /** Completions of receives have this bit in their opcode. */
  receiveBit: 128,
  masks: {
    state: 1,
    accessFlags: 8,
    pkeyIndex: 16,
    port: 32,
    addressVector: 128,
    pathMtu: 256,
    timeout: 512,
    retryCount: 1024,
    rnrRetry: 2048,
    receivePsn: 4096,
    maxReadAtomic: 8192,
    minRnrTimer: 32768,
    sendPsn: 65536,
    maxDestinationReadAtomic: 131072,
    destinationQueuePair: 1048576,
  },
} as const;

type Library = ReturnType<typeof koffi.load>;

/** The part of verbs.h that we use. */
export type Verbs = ReturnType<typeof bind>;

/** Functions that a device's context has pointers to. */
export interface Operations {
  poll_cq: (queue: Pointer, entries: number, completions: Uint8Array) => number;
  req_notify_cq: (queue: Pointer, solicited: number) => number;
  post_send: (pair: Pointer, request: Pointer, bad: Uint8Array) => number;
  post_recv: (pair: Pointer, request: Pointer, bad: Uint8Array) => number;
}

/** Their C types. */
const prototypes: Record<keyof Operations, TypeObject> = {
  poll_cq: koffi.proto('int (void* cq, int entries, void* completions)'),
  req_notify_cq: koffi.proto('int (void* cq, int solicited)'),
  post_send: koffi.proto('int (void* qp, void* request, void* bad)'),
  post_recv: koffi.proto('int (void* qp, void* request, void* bad)'),
};

let loaded: Verbs | undefined;

/**
 * The verbs library of this machine.
 * @throws TransportError 'rdma' when there is none, or when its structures are not those that we know
 */
export function loadVerbs(): Verbs {
  if (loaded) return loaded;
  const library = libraryName();
  let handle: Library;
  try {
    handle = koffi.load(library);
  } catch {
    throw new TransportError('rdma', missingLibrary(library));
  }
  const differences = layoutDifferences();
  if (differences.length > 0)
    throw new TransportError(
      'rdma',
      `${library} is for another kind of system (${differences[0]}): use --transport tcp`,
    );
  return (loaded = bind(handle));
}

/** One of a context's functions. */
export function operation<Name extends keyof Operations>(
  context: Pointer,
  name: Name,
): Operations[Name] {
  const at = offsetOf('ibv_context', 'ops') + offsetOf('ibv_context_ops', name);
  const pointer = koffi.decode(context, at, 'void*') as Pointer;
  return koffi.decode(pointer, prototypes[name]) as Operations[Name];
}

function libraryName(): string {
  if (process.platform === 'darwin') return 'librdma.dylib';
  if (process.platform === 'linux') return 'libibverbs.so.1';
  throw new TransportError('rdma', `RDMA needs Linux or macOS, this is ${process.platform}`);
}

function missingLibrary(library: string): string {
  return process.platform === 'darwin'
    ? `${library} is not on this Mac: RDMA over Thunderbolt needs macOS 26.2 or later`
    : `${library} is not installed: on Debian and Ubuntu, apt install libibverbs1 ibverbs-providers`;
}

function bind(library: Library) {
  // koffi checks arguments at run time against the C prototype; the TypeScript type is ours to keep in step.
  const func = <T extends (...args: never[]) => unknown>(prototype: string) =>
    library.func(prototype) as KoffiFunc<T>;
  const optional = <T extends (...args: never[]) => unknown>(prototype: string) => {
    try {
      return func<T>(prototype);
    } catch {
      return undefined;
    }
  };
  return {
    deviceList: func<(count: [number | null]) => Pointer | null>(
      'void* ibv_get_device_list(_Out_ int* count)',
    ),
    freeDeviceList: func<(list: Pointer) => void>('void ibv_free_device_list(void*)'),
    deviceName: func<(device: Pointer) => string>('const char* ibv_get_device_name(void*)'),
    openDevice: func<(device: Pointer) => Pointer | null>('void* ibv_open_device(void*)'),
    closeDevice: func<(context: Pointer) => number>('int ibv_close_device(void*)'),
    queryPort: func<(context: Pointer, port: number, attributes: Uint8Array) => number>(
      'int ibv_query_port(void*, uint8, void*)',
    ),
    queryGid: func<(context: Pointer, port: number, index: number, gid: Uint8Array) => number>(
      'int ibv_query_gid(void*, uint8, int, void*)',
    ),
    allocateDomain: func<(context: Pointer) => Pointer | null>('void* ibv_alloc_pd(void*)'),
    registerMemory: func<
      (domain: Pointer, address: Pointer, bytes: number, access: number) => Pointer | null
    >('void* ibv_reg_mr(void*, void*, size_t, int)'),
    deregisterMemory: func<(region: Pointer) => number>('int ibv_dereg_mr(void*)'),
    createCompletionQueue: func<
      (
        context: Pointer,
        entries: number,
        data: null,
        channel: Pointer | null,
        vector: number,
      ) => Pointer | null
    >('void* ibv_create_cq(void*, int, void*, void*, int)'),
    destroyCompletionQueue: func<(queue: Pointer) => number>('int ibv_destroy_cq(void*)'),
    createQueuePair: func<(domain: Pointer, attributes: Uint8Array) => Pointer | null>(
      'void* ibv_create_qp(void*, void*)',
    ),
    modifyQueuePair: func<(pair: Pointer, attributes: Uint8Array, mask: number) => number>(
      'int ibv_modify_qp(void*, void*, int)',
    ),
    destroyQueuePair: func<(pair: Pointer) => number>('int ibv_destroy_qp(void*)'),
    /** Events of completion queues, where the library has them: Apple's need not. */
    createChannel: optional<(context: Pointer) => Pointer | null>(
      'void* ibv_create_comp_channel(void*)',
    ),
    destroyChannel: optional<(channel: Pointer) => number>('int ibv_destroy_comp_channel(void*)'),
    takeEvent: optional<
      (channel: Pointer, queue: [Pointer | null], data: [Pointer | null]) => number
    >('int ibv_get_cq_event(void*, _Out_ void** queue, _Out_ void** data)'),
    acknowledgeEvents: optional<(queue: Pointer, count: number) => void>(
      'void ibv_ack_cq_events(void*, uint)',
    ),
  };
}
