import { TransportError } from '../errors.js';
import { errorName, lastError } from './system.js';

/** What can be done with a device. */
export type Operation = 'open' | 'register' | 'createQueuePair' | 'readyToReceive' | 'other';

const what: Record<Operation, string> = {
  open: 'cannot be opened',
  register: 'cannot use our memory',
  createQueuePair: 'gives no queue pair',
  readyToReceive: 'cannot connect its queue pair',
  other: 'refuses an operation',
};

/** Causes that people have met, with what helped. */
const remedies: Partial<Record<Operation, Record<string, string>>> = {
  open: {
    EACCES:
      'no permission for /dev/infiniband: join the group that owns it (often rdma), or be root',
    EPERM:
      'no permission for /dev/infiniband: join the group that owns it (often rdma), or be root',
    // The library tries other ways, and tells how the last one failed.
    ENOENT:
      'no permission for /dev/infiniband, or no ib_uverbs module: join the group that owns it (often rdma), or be root',
    ENODEV: 'the device is gone: look at "daisychain doctor"',
  },
  register: {
    ENOMEM:
      'too little memory may be locked, or all memory regions are in use: raise "ulimit -l", end other RDMA programs',
    EAGAIN: 'too little memory may be locked: raise "ulimit -l"',
  },
  createQueuePair: {
    EBUSY:
      'all queue pairs of the device are in use: end other RDMA programs; trying again does not help',
    ENOMEM: 'no memory or no queue pairs are left: end other RDMA programs',
    EAGAIN:
      'we may have no more queue pairs of the device: raise what the container or control group (rdma.max) allows',
    EOPNOTSUPP: 'the device has no queue pairs of this kind: choose another --rdma-queue',
  },
  readyToReceive: {
    EINVAL:
      'the addresses (GIDs) of the two ends do not fit together: on a Mac switch off Thunderbolt Bridge and give the Thunderbolt interface an IPv4 address of its own',
    EBUSY: 'the device still holds what a crashed program left: restart the machine',
    ETIMEDOUT:
      'the other end cannot be reached from this device: check the cable and the addresses',
    EHOSTUNREACH:
      'the other end cannot be reached from this device: check the cable and the addresses',
    ENETUNREACH:
      'the other end is in another network than this device: check the addresses of both',
  },
};

/** A failed call, readable. @param number errno @param device its name */
export function rdmaError(operation: Operation, device: string, number: number): TransportError {
  const name = errorName(number);
  const remedy =
    remedies[operation]?.[name] ?? 'look at "daisychain doctor", or use --transport tcp';
  return new TransportError('rdma', `${device} ${what[operation]} (${name}): ${remedy}`);
}

/** Checks a call that gives an address or null. @param undo frees what it was for @throws TransportError 'rdma' */
export function orThrow<Result>(
  operation: Operation,
  device: string,
  result: Result | null,
  undo?: () => void,
): Result {
  if (result !== null) return result;
  const error = rdmaError(operation, device, lastError());
  undo?.();
  throw error;
}

/** Checks a call that gives 0 or an errno. @throws TransportError 'rdma' */
export function checkZero(operation: Operation, device: string, result: number): void {
  if (result !== 0) throw rdmaError(operation, device, result > 0 ? result : lastError());
}

/** Values of enum ibv_wc_status that say more than that something went wrong. */
const statuses: Readonly<Record<number, string>> = {
  1: 'a frame is longer than the buffer for it',
  2: 'the device cannot send: the cable is out, or its network interface is down',
  4: 'a buffer is not registered',
  5: 'the queue pair was ended',
  12: 'the other end does not answer: its process has ended, or the cable is out',
  13: 'the other end has no room for frames',
};

/** Why a completion failed. @param status enum ibv_wc_status */
export function completionCause(status: number): string {
  return statuses[status] ?? `completion status ${status}`;
}
