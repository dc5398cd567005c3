import pino from 'pino';
import { acceptChannel, offerChannel } from '../../transport/open-channel.js';
import { dial, listen } from '../../transport/tcp.js';
import type { Connection } from '../../transport/connection.js';

const logger = pino({ level: 'info' });
const far = new Promise<Connection>((resolve) => {
  void listen({
    host: '10.9.0.2',
    port: 7171,
    answer: () => ({ welcome: { softwareVersion: '', name: '', modelFingerprint: '', freeBytes: 0, device: '', threads: 1 } }),
    onConnection: resolve,
    onRejected: (e) => console.log(e.message),
  });
});
await new Promise((r) => setTimeout(r, 100));
const { connection } = await dial({ host: '10.9.0.2', port: 7171, hello: { role: 'tensor', session: '', softwareVersion: '', name: 'x' } });
const queue = process.argv[2] as 'rc' | 'uc';
const accepted = acceptChannel(await far, { transport: 'auto', rdmaDevice: '10.9.0.2', logger });
const near = await offerChannel(connection, 8196, { transport: 'rdma', rdmaDevice: '10.9.0.1', rdmaQueue: queue, logger });
const other = await accepted;
console.log(near.name, other.name);
let got = 0;
let resolve!: () => void;
other.onPart = ({ payload, isLast }) => {
  got += payload.byteLength;
  if (isLast) void other.send('credit', { steps: 1, receipt: 0 });
};
near.onPart = () => resolve();
const times: number[] = [];
for (let i = 0; i < 3000; i++) {
  const t = performance.now();
  const p = new Promise<void>((r) => (resolve = r));
  await near.send('credit', { steps: 1, receipt: 0 }, { rows: 1, rowBytes: 8196, encode: (into) => into.fill(i & 255) });
  await p;
  times.push(performance.now() - t);
}
for (let k = 0; k < 3000; k += 500) console.log(k, times.slice(k, k + 500).sort((a, b) => a - b)[250]);
times.sort((a, b) => a - b);
console.log('round trip ms', times[1500], times[2970], got);
process.exit();
