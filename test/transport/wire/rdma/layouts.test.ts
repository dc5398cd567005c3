import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import {
  knownLayouts,
  layoutDifferences,
  type StructName,
} from '../../../../transport/wire/rdma/layouts.js';
import { verbsValues } from '../../../../transport/wire/rdma/verbs.js';

test('the structures are laid out here as they are known', () => {
  expect(layoutDifferences()).toEqual([]);
});

/** Fields that C has within other structures. */
const spellings: Readonly<Record<string, string>> = {
  'ibv_qp_init_attr.max_send_wr': 'cap.max_send_wr',
  'ibv_qp_init_attr.max_recv_wr': 'cap.max_recv_wr',
  'ibv_qp_init_attr.max_send_sge': 'cap.max_send_sge',
  'ibv_qp_init_attr.max_recv_sge': 'cap.max_recv_sge',
  'ibv_qp_attr.dgid': 'ah_attr.grh.dgid',
  'ibv_qp_attr.sgid_index': 'ah_attr.grh.sgid_index',
  'ibv_qp_attr.hop_limit': 'ah_attr.grh.hop_limit',
  'ibv_qp_attr.dlid': 'ah_attr.dlid',
  'ibv_qp_attr.is_global': 'ah_attr.is_global',
  'ibv_qp_attr.ah_port_num': 'ah_attr.port_num',
};

const { kinds, states, masks } = verbsValues;
const constants: Readonly<Record<string, number>> = {
  IBV_ACCESS_LOCAL_WRITE: verbsValues.accessLocalWrite,
  IBV_WR_SEND: verbsValues.send,
  IBV_SEND_SIGNALED: verbsValues.sendSignaled,
  IBV_QPT_RC: kinds.rc,
  IBV_QPT_UC: kinds.uc,
  IBV_QPS_INIT: states.init,
  IBV_QPS_RTR: states.readyToReceive,
  IBV_QPS_RTS: states.readyToSend,
  IBV_PORT_ACTIVE: verbsValues.portActive,
  IBV_MTU_1024: verbsValues.mtu1024,
  IBV_WC_RECV: verbsValues.receiveBit,
  IBV_QP_STATE: masks.state,
  IBV_QP_ACCESS_FLAGS: masks.accessFlags,
  IBV_QP_PKEY_INDEX: masks.pkeyIndex,
  IBV_QP_PORT: masks.port,
  IBV_QP_AV: masks.addressVector,
  IBV_QP_PATH_MTU: masks.pathMtu,
  IBV_QP_TIMEOUT: masks.timeout,
  IBV_QP_RETRY_CNT: masks.retryCount,
  IBV_QP_RNR_RETRY: masks.rnrRetry,
  IBV_QP_RQ_PSN: masks.receivePsn,
  IBV_QP_MAX_QP_RD_ATOMIC: masks.maxReadAtomic,
  IBV_QP_MIN_RNR_TIMER: masks.minRnrTimer,
  IBV_QP_SQ_PSN: masks.sendPsn,
  IBV_QP_MAX_DEST_RD_ATOMIC: masks.maxDestinationReadAtomic,
  IBV_QP_DEST_QPN: masks.destinationQueuePair,
};

test.skipIf(!canCompile())(
  'a C compiler lays the structures of verbs.h out as they are known',
  () => {
    const expected: Record<string, number> = { ...constants };
    const expressions: string[] = Object.keys(constants);
    for (const [name, { size, offsets }] of Object.entries(knownLayouts)) {
      if (size !== undefined) {
        expected[`sizeof(struct ${name})`] = size;
        expressions.push(`sizeof(struct ${name})`);
      }
      for (const [field, offset] of Object.entries(offsets)) {
        const spelling = spellings[`${name}.${field}`] ?? field;
        const expression = `offsetof(struct ${name as StructName}, ${spelling})`;
        expected[expression] = offset;
        expressions.push(expression);
      }
    }
    expect(compile(expressions)).toEqual(expected);
  },
);

function canCompile(): boolean {
  try {
    return compile(['sizeof(struct ibv_wc)'])['sizeof(struct ibv_wc)'] !== undefined;
  } catch {
    console.warn('no C compiler with infiniband/verbs.h: the layouts are compared with koffi only');
    return false;
  }
}

/** Values of C expressions. */
function compile(expressions: readonly string[]): Record<string, number> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'daisychain-layouts-'));
  try {
    const source = path.join(folder, 'layouts.c');
    const program = path.join(folder, 'layouts');
    const lines = expressions.map((each) => `printf("%s=%zu\\n", "${each}", (size_t)(${each}));`);
    fs.writeFileSync(
      source,
      `#include <infiniband/verbs.h>\n#include <stddef.h>\n#include <stdio.h>\nint main(void) { ${lines.join('\n')} return 0; }\n`,
    );
    execFileSync('cc', [source, '-o', program], { stdio: 'pipe' });
    const output = execFileSync(program, { encoding: 'utf8' });
    return Object.fromEntries(
      output
        .trim()
        .split('\n')
        .map((line) => line.split('='))
        .map(([name = '', value]) => [name, Number(value)]),
    );
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}
