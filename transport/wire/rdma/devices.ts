import koffi from 'koffi';
import { TransportError } from '../errors.js';
import { checkZero, orThrow } from './causes.js';
import { offsetOf, sizeOf } from './layouts.js';
import { loadVerbs, verbsValues, type Pointer } from './verbs.js';

/** An address of a port. */
export interface Gid {
  readonly index: number;
  /** 16 bytes. */
  readonly bytes: Uint8Array;
  /** Of an IPv4-mapped one: a.b.c.d. */
  readonly ipv4: string | undefined;
}

/** The first port of a device: those with more are not for machines that are cabled to each other. */
export interface Port {
  readonly isActive: boolean;
  /** enum ibv_mtu. */
  readonly mtu: number;
  /** Local identifier of InfiniBand; 0 on Ethernet and Thunderbolt. */
  readonly lid: number;
  readonly gids: readonly Gid[];
}

/** An opened device, and the protection domain that all links share. Both live as long as the process. */
export interface RdmaDevice {
  readonly name: string;
  readonly context: Pointer;
  readonly domain: Pointer;
}

export const portNumber = 1;

/** Tables have up to 1024 entries, most of them empty; none follow so many empty ones. */
const emptyGids = 8;

const opened = new Map<string, RdmaDevice>();

/** Names of the RDMA devices of this machine. @throws TransportError 'rdma' without a verbs library */
export function deviceNames(): string[] {
  return withDevices((devices) => devices.map(({ name }) => name));
}

/** @throws TransportError 'rdma' when there is no such device, or it may not be used */
export function openDevice(name: string): RdmaDevice {
  const known = opened.get(name);
  if (known) return known;
  const verbs = loadVerbs();
  const context = withDevices((devices) => {
    const device = devices.find((each) => each.name === name);
    if (!device) throw new TransportError('rdma', `there is no RDMA device ${name} here`);
    return orThrow('open', name, verbs.openDevice(device.pointer));
  });
  const domain = orThrow('other', name, verbs.allocateDomain(context), () =>
    verbs.closeDevice(context),
  );
  const device = { name, context, domain };
  opened.set(name, device);
  return device;
}

/** @throws TransportError 'rdma' when the device does not say */
export function portOf({ name, context }: RdmaDevice): Port {
  const verbs = loadVerbs();
  const attributes = Buffer.alloc(sizeOf('ibv_port_attr'));
  checkZero('other', name, verbs.queryPort(context, portNumber, attributes));
  const tableLength = attributes.readInt32LE(offsetOf('ibv_port_attr', 'gid_tbl_len'));
  return {
    isActive:
      attributes.readUInt32LE(offsetOf('ibv_port_attr', 'state')) === verbsValues.portActive,
    mtu: attributes.readUInt32LE(offsetOf('ibv_port_attr', 'active_mtu')),
    lid: attributes.readUInt16LE(offsetOf('ibv_port_attr', 'lid')),
    gids: readGids(context, tableLength),
  };
}

function readGids(context: Pointer, tableLength: number): Gid[] {
  const verbs = loadVerbs();
  const gids: Gid[] = [];
  let empty = 0;
  for (let index = 0; index < tableLength && empty < emptyGids; index++) {
    const bytes = new Uint8Array(16);
    const isThere = verbs.queryGid(context, portNumber, index, bytes) === 0;
    if (isThere && bytes.some((byte) => byte !== 0)) {
      gids.push({ index, bytes, ipv4: mappedIpv4(bytes) });
      empty = 0;
    } else empty++;
  }
  return gids;
}

/** The address within ::ffff:a.b.c.d. */
export function mappedIpv4(gid: Uint8Array): string | undefined {
  const isMapped = gid.subarray(0, 10).every((byte) => byte === 0) && gid[10] === 0xff;
  return isMapped && gid[11] === 0xff ? gid.subarray(12).join('.') : undefined;
}

/**
 * The address that a link should use: the wanted IPv4 one, else any IPv4 one, else a link-local one, the second of which
 * is the one that works on Thunderbolt.
 */
export function chooseGid(gids: readonly Gid[], wantedIpv4?: string): Gid | undefined {
  const ipv4 = gids.filter((gid) => gid.ipv4 !== undefined);
  const wanted = ipv4.find((gid) => gid.ipv4 === wantedIpv4);
  return wanted ?? ipv4[0] ?? gids.find(({ index }) => index === 1) ?? gids[0];
}

/** A device, and which of its addresses to use. */
export interface Endpoint {
  readonly device: RdmaDevice;
  readonly port: Port;
  readonly gid: Gid;
}

/**
 * Finds the device for a link. Names change from boot to boot, so devices are found by their address.
 * @param wanted a device's name or IPv4 address; undefined for the device of the link's own address, else the only one
 * @param address of this end of the link's TCP connection
 * @throws TransportError 'rdma' that says what is missing
 */
export function findEndpoint(wanted: string | undefined, address: string): Endpoint {
  const names = deviceNames();
  if (names.length === 0) throw new TransportError('rdma', noDevices());
  const chosen = wanted !== undefined && names.includes(wanted) ? wanted : undefined;
  const wantedAddress = chosen === undefined ? (wanted ?? address) : address;
  const candidates = (chosen === undefined ? names : [chosen]).map((name) => {
    const device = openDevice(name);
    const port = portOf(device);
    return { device, port, gid: chooseGid(port.gids, wantedAddress) };
  });
  const matching = candidates.filter(({ gid }) => gid?.ipv4 === wantedAddress);
  if (matching.length === 0 && wanted !== undefined && chosen === undefined)
    throw new TransportError(
      'rdma',
      `${wanted} is neither an RDMA device nor the address of one: there are ${names.join(', ')}`,
    );
  const active = (matching.length > 0 ? matching : candidates).filter(({ port }) => port.isActive);
  const [best] = active;
  if (!best)
    throw new TransportError('rdma', `no port is active on ${names.join(', ')}: is the cable in?`);
  if (active.length > 1 && matching.length === 0)
    throw new TransportError(
      'rdma',
      `none of ${names.join(', ')} has the address ${address}: choose one with --rdma-device`,
    );
  const { device, port, gid } = best;
  if (!gid)
    throw new TransportError(
      'rdma',
      `${device.name} has no address (GID): give its network interface an IPv4 address`,
    );
  return { device, port, gid };
}

/** What to do where there is no device. */
export function noDevices(): string {
  return process.platform === 'darwin'
    ? 'this Mac has no RDMA device: start it in recovery, run "rdma_ctl enable", and connect a Thunderbolt 5 cable'
    : 'this machine has no RDMA device';
}

function withDevices<Result>(
  use: (devices: readonly { name: string; pointer: Pointer }[]) => Result,
): Result {
  const verbs = loadVerbs();
  const count: [number | null] = [null];
  const list = verbs.deviceList(count);
  // Without kernel support the library gives no list.
  if (list === null) return use([]);
  try {
    const devices = Array.from({ length: count[0] ?? 0 }, (_, i) => {
      const pointer = koffi.decode(list, i * 8, 'void*') as Pointer;
      return { name: verbs.deviceName(pointer), pointer };
    });
    return use(devices);
  } finally {
    verbs.freeDeviceList(list);
  }
}
