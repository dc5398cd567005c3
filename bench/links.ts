import { codecNamed, codecNames } from '../transport/wire/codecs/codecs.js';
import { secretFromText, newSecretText } from '../transport/wire/security.js';
import { dial, listen } from '../transport/protocol/peers.js';
import { TensorReceiver, TensorSender } from '../transport/protocol/tensor-link.js';
import { TcpChannel } from '../transport/wire/tensor-channel.js';
import { startLinkSimulator, type LinkConditions } from './link-simulator.js';
import { textStep } from './text-step.js';

/** Prints how long hidden states take over simulated cables, per codec. Run: node dist/bench/links.js [hiddenSize] */
const rowSize = Number(process.argv[2] ?? 1024);
const chunkRows = 64;
const rounds = 60;

const cables: Readonly<Record<string, LinkConditions>> = {
  'Wi-Fi': { megabits: 300, latencyMs: 2, jitterMs: 2 },
  '1 GbE': { megabits: 1000, latencyMs: 0.3, jitterMs: 0 },
  '10 GbE': { megabits: 10_000, latencyMs: 0.1, jitterMs: 0 },
  Thunderbolt: { megabits: 40_000, latencyMs: 0.05, jitterMs: 0 },
};

const loopback = '127.0.0.1';
const secret = secretFromText(newSecretText());
const welcome = {
  softwareVersion: '',
  name: '',
  machineId: '',
  engine: '',
  modelFingerprint: '',
  freeBytes: 0,
  device: '',
  threads: 1,
  busy: false,
};
const hello = { role: 'tensor', softwareVersion: '', name: 'bench' } as const;

for (const [name, conditions] of Object.entries(cables))
  for (const codec of codecNames) {
    const [row, chunk] = [
      await crossing(conditions, codec, 1),
      await crossing(conditions, codec, chunkRows),
    ];
    console.log(
      `${name.padEnd(12)} ${codec.padEnd(5)} decode step ${row.toFixed(2)} ms, chunk of ${chunkRows} tokens ${chunk.toFixed(2)} ms`,
    );
  }
process.exit();

/** Median milliseconds from before the encoding of a step to after its decoding. */
async function crossing(
  conditions: LinkConditions,
  codecName: string,
  rows: number,
): Promise<number> {
  const codec = codecNamed(codecName);
  let arrived: () => void = () => undefined;
  const listener = await listen({
    host: loopback,
    port: 0,
    secret,
    answer: () => ({ welcome }),
    onRejected: (reason) => console.error(reason.message),
    onConnection: (connection) =>
      new TensorReceiver(new TcpChannel(connection), codec, rowSize, (_step, _hidden, release) => {
        release();
        arrived();
      }),
  });
  const target = { host: loopback, port: listener.port };
  const relay = await startLinkSimulator({ host: loopback, port: 0 }, target, conditions);
  const { connection } = await dial({ host: loopback, port: relay.port, hello, secret });
  const sender = new TensorSender(new TcpChannel(connection), codec, rowSize);
  const hidden = Float32Array.from({ length: rows * rowSize }, (_, i) => Math.sin(i));
  const step = textStep(new Int32Array(rows), { cells: { start: 0, length: 512 } });
  const times: number[] = [];
  for (let id = 1; id <= rounds; id++) {
    const received = new Promise<void>((resolve) => (arrived = resolve));
    const begin = performance.now();
    await sender.send({ ...step, id }, hidden);
    await received;
    times.push(performance.now() - begin);
  }
  connection.close('done');
  relay.close();
  await listener.close();
  return times.sort((a, b) => a - b)[rounds >> 1] ?? NaN;
}
