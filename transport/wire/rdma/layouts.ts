import koffi from 'koffi';

/**
 * The structures of verbs.h (rdma-core; macOS has the same) that we read and write, as far as we use them, in the order
 * of the header. They are C structures of 64-bit systems: Linux and macOS lay them out alike.
 */
const fields = {
  ibv_sge: { addr: 'uint64', length: 'uint32', lkey: 'uint32' },
  ibv_send_wr: {
    wr_id: 'uint64',
    next: 'void*',
    sg_list: 'void*',
    num_sge: 'int',
    opcode: 'uint32',
    send_flags: 'uint32',
    imm_data: 'uint32',
    // What the kinds of requests that we do not make have here.
    others: koffi.array('uint64', 11),
  },
  ibv_recv_wr: { wr_id: 'uint64', next: 'void*', sg_list: 'void*', num_sge: 'int' },
  ibv_wc: {
    wr_id: 'uint64',
    status: 'uint32',
    opcode: 'uint32',
    vendor_err: 'uint32',
    byte_len: 'uint32',
    imm_data: 'uint32',
    qp_num: 'uint32',
    src_qp: 'uint32',
    wc_flags: 'uint32',
    pkey_index: 'uint16',
    slid: 'uint16',
    sl: 'uint8',
    dlid_path_bits: 'uint8',
  },
  ibv_mr: {
    context: 'void*',
    pd: 'void*',
    addr: 'void*',
    length: 'size_t',
    handle: 'uint32',
    lkey: 'uint32',
    rkey: 'uint32',
  },
  /** The beginning: a mutex and more follow. */
  ibv_qp: {
    context: 'void*',
    qp_context: 'void*',
    pd: 'void*',
    send_cq: 'void*',
    recv_cq: 'void*',
    srq: 'void*',
    handle: 'uint32',
    qp_num: 'uint32',
    state: 'uint32',
    qp_type: 'uint32',
  },
  ibv_qp_init_attr: {
    qp_context: 'void*',
    send_cq: 'void*',
    recv_cq: 'void*',
    srq: 'void*',
    max_send_wr: 'uint32',
    max_recv_wr: 'uint32',
    max_send_sge: 'uint32',
    max_recv_sge: 'uint32',
    max_inline_data: 'uint32',
    qp_type: 'uint32',
    sq_sig_all: 'int',
  },
  /** With the two address vectors and the capabilities spread out. */
  ibv_qp_attr: {
    qp_state: 'uint32',
    cur_qp_state: 'uint32',
    path_mtu: 'uint32',
    path_mig_state: 'uint32',
    qkey: 'uint32',
    rq_psn: 'uint32',
    sq_psn: 'uint32',
    dest_qp_num: 'uint32',
    qp_access_flags: 'uint32',
    cap: koffi.array('uint32', 5),
    dgid: koffi.array('uint64', 2),
    flow_label: 'uint32',
    sgid_index: 'uint8',
    hop_limit: 'uint8',
    traffic_class: 'uint8',
    dlid: 'uint16',
    sl: 'uint8',
    src_path_bits: 'uint8',
    static_rate: 'uint8',
    is_global: 'uint8',
    ah_port_num: 'uint8',
    alternative: koffi.array('uint64', 4),
    pkey_index: 'uint16',
    alt_pkey_index: 'uint16',
    en_sqd_async_notify: 'uint8',
    sq_draining: 'uint8',
    max_rd_atomic: 'uint8',
    max_dest_rd_atomic: 'uint8',
    min_rnr_timer: 'uint8',
    port_num: 'uint8',
    timeout: 'uint8',
    retry_cnt: 'uint8',
    rnr_retry: 'uint8',
    alt_port_num: 'uint8',
    alt_timeout: 'uint8',
    rate_limit: 'uint32',
  },
  ibv_port_attr: {
    state: 'uint32',
    max_mtu: 'uint32',
    active_mtu: 'uint32',
    gid_tbl_len: 'int',
    port_cap_flags: 'uint32',
    max_msg_sz: 'uint32',
    bad_pkey_cntr: 'uint32',
    qkey_viol_cntr: 'uint32',
    pkey_tbl_len: 'uint16',
    lid: 'uint16',
    sm_lid: 'uint16',
    small: koffi.array('uint8', 10),
    port_cap_flags2: 'uint16',
  },
  /** The beginning. `ops` are 32 function pointers. */
  ibv_context: { device: 'void*', ops: koffi.array('void*', 32), cmd_fd: 'int' },
  ibv_context_ops: {
    before_poll_cq: koffi.array('void*', 11),
    poll_cq: 'void*',
    req_notify_cq: 'void*',
    between: koffi.array('void*', 11),
    before_post_send: 'void*',
    post_send: 'void*',
    post_recv: 'void*',
    rest: koffi.array('void*', 5),
  },
  ibv_comp_channel: { context: 'void*', fd: 'int', refcnt: 'int' },
} as const;

export type StructName = keyof typeof fields;
export type FieldName<Name extends StructName> = keyof (typeof fields)[Name] & string;

/**
 * Sizes, and offsets of what we use, as a C compiler has them for verbs.h (test/transport/wire/rdma/layouts.test.ts asks one).
 * Of structures of which only the beginning is declared, the size is left out.
 */
export const knownLayouts: {
  readonly [Name in StructName]: {
    readonly size?: number;
    readonly offsets: Partial<Readonly<Record<FieldName<Name>, number>>>;
  };
} = {
  ibv_sge: { size: 16, offsets: { addr: 0, length: 8, lkey: 12 } },
  ibv_send_wr: {
    size: 128,
    offsets: { wr_id: 0, next: 8, sg_list: 16, num_sge: 24, opcode: 28, send_flags: 32 },
  },
  ibv_recv_wr: { size: 32, offsets: { wr_id: 0, next: 8, sg_list: 16, num_sge: 24 } },
  ibv_wc: { size: 48, offsets: { wr_id: 0, status: 8, opcode: 12, byte_len: 20, qp_num: 28 } },
  ibv_mr: { size: 48, offsets: { lkey: 36, rkey: 40 } },
  ibv_qp: { offsets: { context: 0, qp_num: 52, state: 56 } },
  ibv_qp_init_attr: {
    size: 64,
    offsets: {
      send_cq: 8,
      recv_cq: 16,
      max_send_wr: 32,
      max_recv_wr: 36,
      max_send_sge: 40,
      max_recv_sge: 44,
      qp_type: 52,
      sq_sig_all: 56,
    },
  },
  ibv_qp_attr: {
    size: 144,
    offsets: {
      qp_state: 0,
      path_mtu: 8,
      rq_psn: 20,
      sq_psn: 24,
      dest_qp_num: 28,
      qp_access_flags: 32,
      dgid: 56,
      sgid_index: 76,
      hop_limit: 77,
      dlid: 80,
      is_global: 85,
      ah_port_num: 86,
      pkey_index: 120,
      max_rd_atomic: 126,
      max_dest_rd_atomic: 127,
      min_rnr_timer: 128,
      port_num: 129,
      timeout: 130,
      retry_cnt: 131,
      rnr_retry: 132,
    },
  },
  ibv_port_attr: { size: 52, offsets: { state: 0, active_mtu: 8, gid_tbl_len: 12, lid: 34 } },
  ibv_context: { offsets: { device: 0, ops: 8, cmd_fd: 264 } },
  ibv_context_ops: {
    size: 256,
    offsets: { poll_cq: 88, req_notify_cq: 96, post_send: 200, post_recv: 208 },
  },
  ibv_comp_channel: { size: 16, offsets: { fd: 8 } },
};

/** @returns what differs between this system's layout and the known one; empty when nothing does */
export function layoutDifferences(): string[] {
  return (Object.keys(fields) as StructName[]).flatMap((name) => {
    const type = koffi.struct(fields[name] as Record<string, string>);
    const { size, offsets } = knownLayouts[name];
    const differences: string[] = [];
    if (size !== undefined && koffi.sizeof(type) !== size)
      differences.push(`${name} has ${koffi.sizeof(type)} bytes instead of ${size}`);
    for (const [field, offset] of Object.entries(offsets))
      if (koffi.offsetof(type, field) !== offset)
        differences.push(`${name}.${field} is at ${koffi.offsetof(type, field)}, not ${offset}`);
    return differences;
  });
}

/** Bytes of a structure whose size is known. */
export function sizeOf(name: StructName): number {
  return knownLayouts[name].size ?? 0;
}

/** Bytes of a field. */
export function widthOf<Name extends StructName>(name: Name, field: FieldName<Name>): number {
  return koffi.sizeof((fields[name] as Record<string, string>)[field] as string);
}

/** Where a field begins. */
export function offsetOf<Name extends StructName>(name: Name, field: FieldName<Name>): number {
  const offsets: Partial<Record<string, number>> = knownLayouts[name].offsets;
  const offset = offsets[field];
  if (offset === undefined) throw new Error(`the offset of ${name}.${field} is not known`);
  return offset;
}
