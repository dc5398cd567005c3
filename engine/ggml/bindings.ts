import koffi, { type KoffiFunc } from 'koffi';
import { loadNativeLibraries, type LibraryVariant } from '../../model/native/libraries.js';

/** Address of an object of ggml's: a context, tensor, graph, buffer, backend or device. Null is a null pointer. */
export type Pointer = bigint;

/** ids of ggml_type that the engine itself makes tensors of. */
export const tensorType = { f32: 0, f16: 1, q4_0: 2, q8_0: 8, i32: 26, i64: 27 } as const;

/** Values of enum ggml_backend_dev_type. */
export const deviceType = { cpu: 0, gpu: 1, integratedGpu: 2 } as const;

/** GGML_BACKEND_BUFFER_USAGE_WEIGHTS. */
export const usageWeights = 1;

type Unary = (context: Pointer, a: Pointer) => Pointer;
type Binary = (context: Pointer, a: Pointer, b: Pointer) => Pointer;
type View = (
  context: Pointer,
  a: Pointer,
  ne0: number,
  ne1: number,
  ne2: number,
  nb1: number,
  nb2: number,
  offset: number,
) => Pointer;

/** The part of ggml's C API that the engine uses (ggml.h, ggml-alloc.h, ggml-backend.h). */
export type Ggml = ReturnType<typeof bindGgml>;

/** Binds ggml's functions. @throws ModelError when the platform package is missing. */
export function bindGgml(variant: LibraryVariant) {
  const libraries = loadNativeLibraries(variant);
  // koffi checks arguments at run time against the C prototype; the TypeScript type is ours to keep in step.
  const base = <T extends (...args: never[]) => unknown>(prototype: string) =>
    libraries.ggmlBase.func(prototype) as KoffiFunc<T>;
  const registry = <T extends (...args: never[]) => unknown>(prototype: string) =>
    libraries.ggml.func(prototype) as KoffiFunc<T>;
  const initParameters = koffi.struct({
    mem_size: 'size_t',
    mem_buffer: 'void*',
    no_alloc: 'bool',
  });
  const init = libraries.ggmlBase.func('ggml_init', 'void*', [initParameters]) as (
    parameters: object,
  ) => Pointer;

  return {
    packageName: libraries.packageName,
    version: base<() => string>('const char* ggml_version()'),

    /** A context that holds descriptions of tensors only; their data lives in backend buffers. */
    newContext: (bytes: number) => init({ mem_size: bytes, mem_buffer: null, no_alloc: true }),
    freeContext: base<(context: Pointer) => void>('void ggml_free(void*)'),
    tensorOverhead: base<() => number>('size_t ggml_tensor_overhead()'),
    graphOverhead: base<(size: number, gradients: boolean) => number>(
      'size_t ggml_graph_overhead_custom(size_t, bool)',
    ),

    newTensor1d: base<(context: Pointer, type: number, ne0: number) => Pointer>(
      'void* ggml_new_tensor_1d(void*, int, int64)',
    ),
    newTensor2d: base<(context: Pointer, type: number, ne0: number, ne1: number) => Pointer>(
      'void* ggml_new_tensor_2d(void*, int, int64, int64)',
    ),
    newTensor3d: base<
      (context: Pointer, type: number, ne0: number, ne1: number, ne2: number) => Pointer
    >('void* ggml_new_tensor_3d(void*, int, int64, int64, int64)'),
    blockSize: base<(type: number) => number>('int64 ggml_blck_size(int)'),
    rowBytes: base<(type: number, elements: number) => number>('size_t ggml_row_size(int, int64)'),
    /** Product of all dimensions but the first. */
    rowCount: base<(tensor: Pointer) => number>('int64 ggml_nrows(void*)'),
    elementCount: base<(tensor: Pointer) => number>('int64 ggml_nelements(void*)'),
    tensorBytes: base<(tensor: Pointer) => number>('size_t ggml_nbytes(void*)'),
    setInput: base<(tensor: Pointer) => void>('void ggml_set_input(void*)'),
    setOutput: base<(tensor: Pointer) => void>('void ggml_set_output(void*)'),
    tensorData: base<(tensor: Pointer) => Pointer>('void* ggml_get_data(void*)'),

    mulMat: base<Binary>('void* ggml_mul_mat(void*, void*, void*)'),
    mul: base<Binary>('void* ggml_mul(void*, void*, void*)'),
    add: base<Binary>('void* ggml_add(void*, void*, void*)'),
    getRows: base<Binary>('void* ggml_get_rows(void*, void*, void*)'),
    setRows: base<(context: Pointer, into: Pointer, rows: Pointer, indices: Pointer) => Pointer>(
      'void* ggml_set_rows(void*, void*, void*, void*)',
    ),
    /** `a` with `b` written over a part of it, whose rows are `rowBytes` apart: in a's memory. */
    setInPlace: base<
      (context: Pointer, a: Pointer, b: Pointer, rowBytes: number, offset: number) => Pointer
    >('void* ggml_set_2d_inplace(void*, void*, void*, size_t, size_t)'),
    concat: base<(context: Pointer, a: Pointer, b: Pointer, dimension: number) => Pointer>(
      'void* ggml_concat(void*, void*, void*, int)',
    ),
    /** [columns, rows, experts] times the matrices of every row's experts. @param ids i32 [chosen, n] */
    mulMatId: base<(context: Pointer, matrices: Pointer, x: Pointer, ids: Pointer) => Pointer>(
      'void* ggml_mul_mat_id(void*, void*, void*, void*)',
    ),
    /** a [size, chosen, n] plus the rows of b [size, experts] that ids name. */
    addId: base<(context: Pointer, a: Pointer, b: Pointer, ids: Pointer) => Pointer>(
      'void* ggml_add_id(void*, void*, void*, void*)',
    ),
    div: base<Binary>('void* ggml_div(void*, void*, void*)'),
    norm: base<(context: Pointer, a: Pointer, epsilon: number) => Pointer>(
      'void* ggml_norm(void*, void*, float)',
    ),
    l2Norm: base<(context: Pointer, a: Pointer, epsilon: number) => Pointer>(
      'void* ggml_l2_norm(void*, void*, float)',
    ),
    scale: base<(context: Pointer, a: Pointer, factor: number) => Pointer>(
      'void* ggml_scale(void*, void*, float)',
    ),
    /** a · factor + summand. */
    scaleAndAdd: base<(context: Pointer, a: Pointer, factor: number, summand: number) => Pointer>(
      'void* ggml_scale_bias(void*, void*, float, float)',
    ),
    floor: base<Unary>('void* ggml_floor(void*, void*)'),
    log: base<Unary>('void* ggml_log(void*, void*)'),
    clamp: base<(context: Pointer, a: Pointer, from: number, to: number) => Pointer>(
      'void* ggml_clamp(void*, void*, float, float)',
    ),
    fill: base<(context: Pointer, a: Pointer, value: number) => Pointer>(
      'void* ggml_fill(void*, void*, float)',
    ),
    sumRows: base<Unary>('void* ggml_sum_rows(void*, void*)'),
    silu: base<Unary>('void* ggml_silu(void*, void*)'),
    sigmoid: base<Unary>('void* ggml_sigmoid(void*, void*)'),
    tanh: base<Unary>('void* ggml_tanh(void*, void*)'),
    /** Indices of the largest, the largest first: a view of all of them. */
    argsortTopK: base<(context: Pointer, a: Pointer, k: number) => Pointer>(
      'void* ggml_argsort_top_k(void*, void*, int)',
    ),
    rmsNorm: base<(context: Pointer, a: Pointer, epsilon: number) => Pointer>(
      'void* ggml_rms_norm(void*, void*, float)',
    ),
    softMax: base<
      (
        context: Pointer,
        a: Pointer,
        mask: Pointer | null,
        scale: number,
        maxBias: number,
      ) => Pointer
    >('void* ggml_soft_max_ext(void*, void*, void*, float, float)'),
    swiglu: base<Binary>('void* ggml_swiglu_split(void*, void*, void*)'),
    geglu: base<Binary>('void* ggml_geglu_split(void*, void*, void*)'),
    swigluOai: base<
      (context: Pointer, gate: Pointer, up: Pointer, alpha: number, limit: number) => Pointer
    >('void* ggml_swiglu_oai(void*, void*, void*, float, float)'),
    addSinksToSoftMax: base<(softMax: Pointer, sinks: Pointer) => void>(
      'void ggml_soft_max_add_sinks(void*, void*)',
    ),
    addSinksToFlashAttention: base<(attention: Pointer, sinks: Pointer) => void>(
      'void ggml_flash_attn_ext_add_sinks(void*, void*)',
    ),
    softplus: base<Unary>('void* ggml_softplus(void*, void*)'),
    /** [width - 1 + n, features] convolved with [width, features]: [features, n]. */
    ssmConv: base<Binary>('void* ggml_ssm_conv(void*, void*, void*)'),
    /**
     * q and k [size, keyHeads, n], v [size, heads, n], decay and beta [1, heads, n], state [size, size, heads]: what is read,
     * [size · heads, n], and behind it the last `states` states, in one tensor of such rows.
     */
    gatedDeltaNet: base<
      (
        context: Pointer,
        q: Pointer,
        k: Pointer,
        v: Pointer,
        decay: Pointer,
        beta: Pointer,
        state: Pointer,
        states: number,
      ) => Pointer
    >('void* ggml_gated_delta_net(void*, void*, void*, void*, void*, void*, void*, int64)'),
    argmax: base<Unary>('void* ggml_argmax(void*, void*)'),
    reshape2d: base<(context: Pointer, a: Pointer, ne0: number, ne1: number) => Pointer>(
      'void* ggml_reshape_2d(void*, void*, int64, int64)',
    ),
    reshape3d: base<
      (context: Pointer, a: Pointer, ne0: number, ne1: number, ne2: number) => Pointer
    >('void* ggml_reshape_3d(void*, void*, int64, int64, int64)'),
    reshape4d: base<
      (context: Pointer, a: Pointer, ne0: number, ne1: number, ne2: number, ne3: number) => Pointer
    >('void* ggml_reshape_4d(void*, void*, int64, int64, int64, int64)'),
    /** `a` as often as it takes for the shape of `b`. */
    repeat: base<Binary>('void* ggml_repeat(void*, void*, void*)'),
    permute: base<
      (
        context: Pointer,
        a: Pointer,
        axis0: number,
        axis1: number,
        axis2: number,
        axis3: number,
      ) => Pointer
    >('void* ggml_permute(void*, void*, int, int, int, int)'),
    /** A copy in the order of its dimensions. */
    /** An empty tensor of the same type and shape, contiguous. */
    alike: base<Unary>('void* ggml_dup_tensor(void*, void*)'),
    /** Copies the first to where the second is. */
    copy: base<Binary>('void* ggml_cpy(void*, void*, void*)'),
    contiguous: base<Unary>('void* ggml_cont(void*, void*)'),
    cast: base<(context: Pointer, a: Pointer, type: number) => Pointer>(
      'void* ggml_cast(void*, void*, int)',
    ),
    /** With zeros behind every dimension. */
    pad: base<
      (context: Pointer, a: Pointer, p0: number, p1: number, p2: number, p3: number) => Pointer
    >('void* ggml_pad(void*, void*, int, int, int, int)'),
    view2d: base<
      (
        context: Pointer,
        a: Pointer,
        ne0: number,
        ne1: number,
        nb1: number,
        offset: number,
      ) => Pointer
    >('void* ggml_view_2d(void*, void*, int64, int64, size_t, size_t)'),
    view3d: base<View>(
      'void* ggml_view_3d(void*, void*, int64, int64, int64, size_t, size_t, size_t)',
    ),
    rope: base<
      (
        context: Pointer,
        a: Pointer,
        positions: Pointer,
        frequencyFactors: Pointer | null,
        dimensions: number,
        mode: number,
        originalContext: number,
        base: number,
        frequencyScale: number,
        extrapolation: number,
        attentionFactor: number,
        betaFast: number,
        betaSlow: number,
      ) => Pointer
    >(
      'void* ggml_rope_ext(void*, void*, void*, void*, int, int, int, float, float, float, float, float, float)',
    ),
    flashAttention: base<
      (
        context: Pointer,
        q: Pointer,
        k: Pointer,
        v: Pointer,
        mask: Pointer,
        scale: number,
        maxBias: number,
        logitSoftcap: number,
      ) => Pointer
    >('void* ggml_flash_attn_ext(void*, void*, void*, void*, void*, float, float, float)'),

    setAttentionPrecision: base<(attention: Pointer, precision: number) => void>(
      'void ggml_flash_attn_ext_set_prec(void*, int)',
    ),

    newGraph: base<(context: Pointer, size: number, gradients: boolean) => Pointer>(
      'void* ggml_new_graph_custom(void*, size_t, bool)',
    ),
    expand: base<(graph: Pointer, tensor: Pointer) => void>(
      'void ggml_build_forward_expand(void*, void*)',
    ),
    graphNodes: base<(graph: Pointer) => number>('int ggml_graph_n_nodes(void*)'),
    graphNode: base<(graph: Pointer, index: number) => Pointer>(
      'void* ggml_graph_node(void*, int)',
    ),
    opDescription: base<(tensor: Pointer) => string>('const char* ggml_op_desc(void*)'),

    newAllocator: base<(bufferType: Pointer) => Pointer>('void* ggml_gallocr_new(void*)'),
    freeAllocator: base<(allocator: Pointer) => void>('void ggml_gallocr_free(void*)'),
    reserveGraph: base<(allocator: Pointer, graph: Pointer) => boolean>(
      'bool ggml_gallocr_reserve(void*, void*)',
    ),
    allocateGraph: base<(allocator: Pointer, graph: Pointer) => boolean>(
      'bool ggml_gallocr_alloc_graph(void*, void*)',
    ),
    allocatorBytes: base<(allocator: Pointer, buffer: number) => number>(
      'size_t ggml_gallocr_get_buffer_size(void*, int)',
    ),

    deviceCount: registry<() => number>('size_t ggml_backend_dev_count()'),
    deviceAt: registry<(index: number) => Pointer>('void* ggml_backend_dev_get(size_t)'),
    deviceName: base<(device: Pointer) => string>('const char* ggml_backend_dev_name(void*)'),
    deviceDescription: base<(device: Pointer) => string>(
      'const char* ggml_backend_dev_description(void*)',
    ),
    deviceMemory: base<(device: Pointer, free: [number], total: [number]) => void>(
      'void ggml_backend_dev_memory(void*, _Out_ size_t*, _Out_ size_t*)',
    ),
    deviceType: base<(device: Pointer) => number>('int ggml_backend_dev_type(void*)'),
    deviceRegistry: base<(device: Pointer) => Pointer>('void* ggml_backend_dev_backend_reg(void*)'),
    registryName: base<(registry: Pointer) => string>('const char* ggml_backend_reg_name(void*)'),
    deviceBufferType: base<(device: Pointer) => Pointer>(
      'void* ggml_backend_dev_buffer_type(void*)',
    ),
    deviceSupports: base<(device: Pointer, op: Pointer) => boolean>(
      'bool ggml_backend_dev_supports_op(void*, void*)',
    ),
    newBackend: base<(device: Pointer, parameters: null) => Pointer | null>(
      'void* ggml_backend_dev_init(void*, const char*)',
    ),
    freeBackend: base<(backend: Pointer) => void>('void ggml_backend_free(void*)'),
    procedure: base<(registry: Pointer, name: string) => Pointer | null>(
      'void* ggml_backend_reg_get_proc_address(void*, const char*)',
    ),

    /** Address of `bool ggml_is_empty(const struct ggml_tensor*)`. */
    isEmpty: libraries.ggmlBase.symbol('ggml_is_empty') as Pointer,

    bufferTypeName: base<(bufferType: Pointer) => string>(
      'const char* ggml_backend_buft_name(void*)',
    ),
    allocateBuffer: base<(bufferType: Pointer, bytes: number) => Pointer | null>(
      'void* ggml_backend_buft_alloc_buffer(void*, size_t)',
    ),
    allocateTensors: base<(context: Pointer, bufferType: Pointer) => Pointer | null>(
      'void* ggml_backend_alloc_ctx_tensors_from_buft(void*, void*)',
    ),
    freeBuffer: base<(buffer: Pointer) => void>('void ggml_backend_buffer_free(void*)'),
    bufferBytes: base<(buffer: Pointer) => number>('size_t ggml_backend_buffer_get_size(void*)'),
    setBufferUsage: base<(buffer: Pointer, usage: number) => void>(
      'void ggml_backend_buffer_set_usage(void*, int)',
    ),
    placeTensor: base<(buffer: Pointer, tensor: Pointer, address: Pointer) => number>(
      'int ggml_backend_tensor_alloc(void*, void*, void*)',
    ),
    tensorSet: base<
      (tensor: Pointer, data: ArrayBufferView, offset: number, bytes: number) => void
    >('void ggml_backend_tensor_set(void*, const void*, size_t, size_t)'),
    tensorGet: base<
      (tensor: Pointer, data: ArrayBufferView, offset: number, bytes: number) => void
    >('void ggml_backend_tensor_get(void*, void*, size_t, size_t)'),
    tensorFill: base<(tensor: Pointer, value: number, offset: number, bytes: number) => void>(
      'void ggml_backend_tensor_memset(void*, uint8, size_t, size_t)',
    ),
    threadPoolDefaults: base<(parameters: Buffer, threads: number) => void>(
      'void ggml_threadpool_params_init(void*, int)',
    ),
    compute: base<(backend: Pointer, graph: Pointer) => number>(
      'int ggml_backend_graph_compute(void*, void*)',
    ),
  };
}

/** struct ggml_tensor begins with its type and the buffer that holds its data. */
const tensorBufferOffset = 8;

/** The buffer that holds a tensor's data. */
export function tensorBuffer(tensor: Pointer): Pointer {
  return koffi.decode(tensor, tensorBufferOffset, 'void*') as Pointer;
}

/** Pretends that a tensor lies in a buffer, to ask a device whether it could compute with it there. */
export function pretendBuffer(tensor: Pointer, buffer: Pointer | null): void {
  koffi.encode(tensor, tensorBufferOffset, 'void*', buffer);
}
