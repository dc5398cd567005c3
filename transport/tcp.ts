import net from 'node:net';
import { Connection } from './connection.js';
import { TransportError } from './errors.js';
import {
  answerHello,
  handshakeLimits,
  handshakeMs,
  sayHello,
  type Answer,
  type Hello,
  type Welcome,
} from './handshake.js';
import { secureAccepted, secureDialled, type ClusterSecret } from './security.js';

const connectMs = 5000;

/** Peers that may be within their handshake at once. The oldest gives way, so that a flood locks nobody out. */
const maxHandshakes = 64;

export interface DialOptions {
  readonly host: string;
  readonly port: number;
  readonly hello: Omit<Hello, 'protocolVersion'>;
  /** Encrypts the link and proves both sides to each other; without it neither is done. */
  readonly secret?: ClusterSecret;
  /** How messages call the peer; default `worker host:port`. */
  readonly peer?: string;
}

/**
 * Connects to a worker and does the handshake.
 * @throws TransportError 'unreachable', 'secret', 'refused', 'version', 'garbage' or 'timeout'
 */
export async function dial(
  options: DialOptions,
): Promise<{ connection: Connection; welcome: Welcome }> {
  const { host, port, hello, secret } = options;
  const peer = options.peer ?? `worker ${formatAddress(host, port)}`;
  const plain = await connect(host, port, peer);
  const socket = secret ? await withinHandshake(plain, secureDialled(plain, secret, peer)) : plain;
  const connection = new Connection(socket, peer, handshakeLimits);
  try {
    const welcome = await sayHello(connection, hello);
    connection.startHeartbeats();
    return { connection, welcome };
  } catch (error) {
    connection.fail(error as TransportError);
    const code = error instanceof TransportError ? error.code : undefined;
    if (code === 'closed' || code === 'garbage')
      throw new TransportError(
        'garbage',
        `${peer} does not speak the protocol of daisychain${secret ? '' : ', or wants the cluster secret'}: is another program using that port?`,
      );
    throw error;
  }
}

function connect(host: string, port: number, peer: string): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    if (!isPort(port) || port === 0)
      throw new TransportError('unreachable', `cannot reach ${peer}: ports go from 1 to 65535`);
    const socket = net.connect({ host, port, noDelay: true });
    const fail = (cause: string) => {
      socket.destroy();
      reject(
        new TransportError(
          'unreachable',
          `cannot reach ${peer}: ${cause}. Is "daisychain worker" running there?`,
        ),
      );
    };
    socket.setTimeout(connectMs, () => fail(`no answer within ${connectMs / 1000} s`));
    socket.once('error', (error: NodeJS.ErrnoException) => fail(causeOf(error)));
    socket.once('connect', () => {
      // The error handler stays, so that there is no moment without one.
      socket.setTimeout(0).removeAllListeners('timeout');
      resolve(socket);
    });
  });
}

function causeOf(error: NodeJS.ErrnoException): string {
  const causes: Record<string, string> = {
    ECONNREFUSED: 'connection refused',
    ENOTFOUND: 'no such host',
    EAI_AGAIN: 'no such host',
    EHOSTUNREACH: 'no route to that host',
    ENETUNREACH: 'no route to that network',
  };
  return causes[error.code ?? ''] ?? error.code ?? error.message;
}

export interface ListenOptions {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** Peers must know it, and links are encrypted; without it anyone may connect. */
  readonly secret?: ClusterSecret;
  /** Decides about a peer by its hello. */
  readonly answer: (hello: Hello) => Answer;
  readonly onConnection: (connection: Connection, hello: Hello) => void;
  /** A peer that did not get through the handshake; for the log. */
  readonly onRejected: (reason: TransportError) => void;
}

/** A port that takes connections until it is closed. */
export interface Listener {
  readonly port: number;
  close(): Promise<void>;
}

/** Listens for peers. @throws TransportError 'port' when the port is taken or may not be used */
export async function listen(options: ListenOptions): Promise<Listener> {
  const sockets = new Set<net.Socket>();
  const handshakes = new Set<net.Socket>();
  const server = net.createServer({ noDelay: true }, (socket) => {
    const [oldest] = handshakes;
    if (oldest && handshakes.size >= maxHandshakes) {
      handshakes.delete(oldest);
      oldest.destroy();
    }
    handshakes.add(socket);
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    void welcome(socket, options).finally(() => handshakes.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    if (!isPort(options.port))
      throw new TransportError('port', `${options.port} is no port: they go from 1 to 65535`);
    server.once('error', (error: NodeJS.ErrnoException) => reject(portError(error, options)));
    server.listen({ host: options.host, port: options.port }, resolve);
  });
  // Such as too many open files: this peer is lost, the next one may fare better.
  server.on('error', (error) =>
    options.onRejected(new TransportError('closed', `cannot accept a peer: ${error.message}`)),
  );
  return {
    port: (server.address() as net.AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

async function welcome(socket: net.Socket, options: ListenOptions): Promise<void> {
  const peer = `peer ${formatAddress(socket.remoteAddress ?? 'unknown', socket.remotePort ?? 0)}`;
  try {
    const { secret } = options;
    const secured = secret
      ? await withinHandshake(socket, secureAccepted(socket, secret, peer))
      : socket;
    const connection = new Connection(secured, peer, handshakeLimits);
    const hello = await answerHello(connection, options.answer);
    connection.startHeartbeats();
    options.onConnection(connection, hello);
  } catch (error) {
    options.onRejected(error as TransportError);
  }
}

/** Ends a socket whose peer takes too long to prove itself. */
async function withinHandshake<Result>(socket: net.Socket, work: Promise<Result>): Promise<Result> {
  const timer = setTimeout(() => socket.destroy(), handshakeMs);
  try {
    return await work;
  } finally {
    clearTimeout(timer);
  }
}

function portError(error: NodeJS.ErrnoException, { host, port }: ListenOptions): TransportError {
  const address = formatAddress(host, port);
  const causes: Record<string, string> = {
    EADDRINUSE: `port ${port} is in use on ${host}: end the other program or choose another --port`,
    EACCES: `port ${port} needs special rights: choose a --port of 1024 or more`,
    EADDRNOTAVAIL: `${host} is not an address of this machine: choose another --host`,
    ENOTFOUND: `${host} is not an address of this machine: choose another --host`,
  };
  return new TransportError(
    'port',
    causes[error.code ?? ''] ?? `cannot listen on ${address}: ${error.code}`,
  );
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 0 && port <= 0xffff;
}

/** host:port, with brackets around IPv6 addresses. */
export function formatAddress(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
