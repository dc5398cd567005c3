import net from 'node:net';
import { parseArgs } from 'node:util';

/** What a simulated cable is like. */
export interface LinkConditions {
  /** Megabits per second in each direction. */
  readonly megabits: number;
  /** Milliseconds from one end to the other. */
  readonly latencyMs: number;
  /** Most milliseconds added to the latency, evenly spread; order is kept. */
  readonly jitterMs: number;
}

/** Milliseconds by which timers may be late. */
const timerMs = 1;

/** Bytes that may be on the cable before its sender is stopped: what a socket's buffer would hold. */
const cableBytes = 4 << 20;

/**
 * A TCP relay that behaves like a slower cable, so that 1 GbE, Wi-Fi and the like can be measured on loopback. Timers
 * of a millisecond would be too coarse for that: shortly before bytes arrive the relay polls the clock.
 */
export async function startLinkSimulator(
  listen: { host: string; port: number },
  target: { host: string; port: number },
  conditions: LinkConditions,
): Promise<{ port: number; close(): void }> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ noDelay: true }, (near) => {
    const far = net.connect({ ...target, noDelay: true });
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    }
    new Cable(near, far, conditions);
    new Cable(far, near, conditions);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(listen, resolve);
  });
  return {
    port: (server.address() as net.AddressInfo).port,
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** One direction: every chunk arrives when its last bit has been sent and has travelled. */
class Cable {
  readonly #onTheWay: { arrivesAt: number; data: Buffer }[] = [];
  #bytes = 0;
  /** When the sender's end is free for the next bit. */
  #freeAt = 0;
  #lastArrival = 0;
  #polling = false;

  constructor(
    private readonly from: net.Socket,
    private readonly to: net.Socket,
    private readonly conditions: LinkConditions,
  ) {
    from.on('data', (data: Buffer) => this.#send(data));
    from.on('close', () => this.#onTheWay.length === 0 && to.destroy());
    from.on('end', () => this.#send(Buffer.alloc(0)));
  }

  #send(data: Buffer): void {
    const { megabits, latencyMs, jitterMs } = this.conditions;
    const begin = Math.max(performance.now(), this.#freeAt);
    this.#freeAt = begin + (data.length * 8) / (megabits * 1000);
    const arrivesAt = this.#freeAt + latencyMs + Math.random() * jitterMs;
    this.#lastArrival = Math.max(this.#lastArrival, arrivesAt);
    this.#onTheWay.push({ arrivesAt: this.#lastArrival, data });
    this.#bytes += data.length;
    if (this.#bytes > cableBytes) this.from.pause();
    if (!this.#polling) this.#poll();
  }

  #poll(): void {
    this.#polling = this.#onTheWay.length > 0;
    while (this.#onTheWay.length > 0 && (this.#onTheWay[0]?.arrivesAt ?? 0) <= performance.now())
      this.#deliver(this.#onTheWay.shift()?.data ?? Buffer.alloc(0));
    const [next] = this.#onTheWay;
    if (!next) this.#polling = false;
    else this.#pollAgain(next.arrivesAt - performance.now());
  }

  #pollAgain(waitMs: number): void {
    if (waitMs > 2 * timerMs) setTimeout(() => this.#poll(), waitMs - timerMs);
    else setImmediate(() => this.#poll());
  }

  #deliver(data: Buffer): void {
    this.#bytes -= data.length;
    if (data.length === 0) this.to.end();
    else this.to.write(data);
    if (this.#bytes <= cableBytes) this.from.resume();
  }
}

const usage = `Relays TCP connections over a simulated cable.
  node dist/bench/link-simulator.js --listen 7171 --to 127.0.0.1:7070 --mbit 1000 --latency 0.3 [--jitter 0.1]`;

if (process.argv[1]?.endsWith('link-simulator.js')) await main();

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      listen: { type: 'string' },
      to: { type: 'string' },
      mbit: { type: 'string', default: '1000' },
      latency: { type: 'string', default: '0.3' },
      jitter: { type: 'string', default: '0' },
    },
  });
  const [host, port] = values.to?.split(':') ?? [];
  if (!values.listen || !host || !port) {
    console.error(usage);
    process.exitCode = 2;
    return;
  }
  const conditions = {
    megabits: Number(values.mbit),
    latencyMs: Number(values.latency),
    jitterMs: Number(values.jitter),
  };
  const listen = { host: '127.0.0.1', port: Number(values.listen) };
  const relay = await startLinkSimulator(listen, { host, port: Number(port) }, conditions);
  console.error(`relaying ${relay.port} to ${values.to}: ${JSON.stringify(conditions)}`);
}
