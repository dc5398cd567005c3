import { TransportError } from '../../transport/wire/errors.js';
import {
  deviceNames,
  noDevices,
  openDevice,
  portOf,
  type Port,
} from '../../transport/wire/rdma/devices.js';

/** RDMA on this machine. */
export interface RdmaFacts {
  readonly devices: readonly RdmaDeviceFacts[];
  /** What is missing for RDMA, and what to do about it. */
  readonly problem?: string;
}

export interface RdmaDeviceFacts {
  readonly name: string;
  /** Whether a cable is in, with something at its other end. */
  readonly active: boolean;
  /** Index and address of each GID: an IPv4 address where it has one. */
  readonly addresses: readonly string[];
  /** Why it cannot be used. */
  readonly problem?: string;
}

/** Looks for RDMA devices; what is in the way becomes a problem. */
export function rdmaFacts(): RdmaFacts {
  try {
    const devices = deviceNames().map(deviceFacts);
    return devices.length > 0 ? { devices } : { devices, problem: noDevices() };
  } catch (error) {
    return { devices: [], problem: problemOf(error) };
  }
}

function deviceFacts(name: string): RdmaDeviceFacts {
  try {
    const port = portOf(openDevice(name));
    const addresses = port.gids.map(({ index, ipv4, bytes }) => `${index}: ${ipv4 ?? hex(bytes)}`);
    const problem = missing(port);
    return { name, active: port.isActive, addresses, ...(problem ? { problem } : {}) };
  } catch (error) {
    return { name, active: false, addresses: [], problem: problemOf(error) };
  }
}

function missing({ isActive, gids }: Port): string | undefined {
  if (!isActive) return 'its port is not active: is the cable in, at both ends?';
  if (!gids.some(({ ipv4 }) => ipv4 !== undefined))
    return 'it has no IPv4 address: give its network interface one';
  return undefined;
}

/** The notation of IPv6 addresses, which GIDs are. */
function hex(gid: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) =>
    (((gid[2 * i] ?? 0) << 8) | (gid[2 * i + 1] ?? 0)).toString(16),
  );
  return groups.join(':');
}

function problemOf(error: unknown): string {
  if (error instanceof TransportError) return error.message;
  throw error;
}
