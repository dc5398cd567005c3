import { acceptChannel, offerChannel } from '../../../transport/protocol/open-channel.js';
import { queueKinds } from '../../../transport/wire/rdma/queue-pair.js';
import {
  collectingLogger,
  dialFar,
  farAddress,
  listenOnce,
  nearAddress,
  sendRows,
} from './links.js';

// One end of a ping-pong, as latency.sh runs it beside the verbs library's own: ping.js near|far rc|uc BYTES TIMES.
const [end, queueName, size, times] = process.argv.slice(2);
const port = 7171;
const queue = queueKinds.find((kind) => kind === queueName) ?? 'rc';
const message = new Uint8Array(Number(size));
const logger = collectingLogger([]);

if (end === 'far') {
  const { accepted } = await listenOnce(port);
  console.log('listening');
  const channel = await acceptChannel(await accepted, {
    transport: 'rdma',
    rdmaDevice: farAddress,
    logger,
  });
  channel.onPart = ({ isLast }) => {
    if (isLast) void sendRows(channel, 1, message, 1);
  };
  await channel.closed;
  process.exit();
}

const { connection } = await dialFar(port);
const channel = await offerChannel(connection, message.byteLength, {
  transport: 'rdma',
  rdmaDevice: nearAddress,
  rdmaQueue: queue,
  logger,
});
let answered!: () => void;
channel.onPart = ({ isLast }) => {
  if (isLast) answered();
};
const roundTrips: number[] = [];
for (let i = 0; i < Number(times); i++) {
  const begin = performance.now();
  const answer = new Promise<void>((resolve) => (answered = resolve));
  void sendRows(channel, 1, message, 1);
  await answer;
  roundTrips.push(1000 * (performance.now() - begin));
}
// The first are dominated by the compiler, which is far slower on an emulated machine.
const warm = roundTrips.slice(-Math.floor(roundTrips.length / 4)).sort((a, b) => a - b);
const quantile = (share: number) => Math.round(warm[Math.floor(share * warm.length)] ?? 0);
console.log(
  JSON.stringify({
    p10: quantile(0.1),
    p50: quantile(0.5),
    p90: quantile(0.9),
    p99: quantile(0.99),
    name: channel.name,
  }),
);
connection.close('done');
process.exit();
