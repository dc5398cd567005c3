import { expect, test } from 'vitest';
import { chooseGid, mappedIpv4, type Gid } from '../../../../transport/wire/rdma/devices.js';

function gid(index: number, ...bytes: number[]): Gid {
  const all = new Uint8Array(16);
  all.set(bytes, 16 - bytes.length);
  if (bytes.length === 16) all.set(bytes);
  return { index, bytes: all, ipv4: mappedIpv4(all) };
}

const linkLocal = (index: number, last: number) =>
  gid(index, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last);

test('an IPv4 address within a GID is found', () => {
  expect(gid(1, 0xff, 0xff, 10, 9, 0, 1).ipv4).toBe('10.9.0.1');
  expect(gid(0, 10, 9, 0, 1).ipv4).toBeUndefined();
  expect(linkLocal(0, 1).ipv4).toBeUndefined();
});

test('the wanted address is taken, else any IPv4 one, else the second link-local one', () => {
  const [local0, local1] = [linkLocal(0, 1), linkLocal(1, 2)];
  const [first, second] = [gid(2, 0xff, 0xff, 10, 0, 0, 1), gid(3, 0xff, 0xff, 10, 0, 1, 1)];
  expect(chooseGid([local0, first, second], '10.0.1.1')).toBe(second);
  expect(chooseGid([local0, first, second], '10.0.9.9')).toBe(first);
  expect(chooseGid([local0, local1])).toBe(local1);
  expect(chooseGid([local0])).toBe(local0);
  expect(chooseGid([])).toBeUndefined();
});
