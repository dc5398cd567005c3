import type net from 'node:net';
import { Connection } from '../wire/connection.js';
import { TransportError } from '../wire/errors.js';
import type { ClusterSecret } from '../wire/security.js';
import { accept, acceptSockets, connect, formatAddress, type Listener } from '../wire/tcp.js';
import {
  answerHello,
  handshakeLimits,
  sayHello,
  type Answer,
  type Greeting,
  type Hello,
  type Welcome,
} from './handshake.js';

/** Peers that may be within their handshake at once. The oldest gives way, so that a flood locks nobody out. */
const maxHandshakes = 64;

export interface DialOptions {
  readonly host: string;
  readonly port: number;
  readonly hello: Greeting;
  /** Encrypts the link and proves both sides to each other; without it neither is done. */
  readonly secret?: ClusterSecret | undefined;
  /** How messages call the peer; default `worker host:port`. */
  readonly peer?: string;
}

/** What a peer said of itself. */
export interface Inquiry {
  readonly welcome: Welcome;
  /** Milliseconds from our hello to its welcome. */
  readonly roundTripMs: number;
}

/**
 * Connects to a worker and does the handshake.
 * @throws TransportError 'unreachable', 'secret', 'refused', 'version', 'garbage' or 'timeout'
 */
export async function dial(
  options: DialOptions,
): Promise<Inquiry & { readonly connection: Connection }> {
  const { host, port, hello, secret } = options;
  const peer = options.peer ?? `worker ${formatAddress(host, port)}`;
  const socket = await connect({ host, port, secret, peer });
  const connection = new Connection(socket, peer, handshakeLimits);
  try {
    const begin = performance.now();
    const welcome = await sayHello(connection, hello);
    const roundTripMs = performance.now() - begin;
    connection.startHeartbeats();
    return { connection, welcome, roundTripMs };
  } catch (error) {
    connection.fail(error as TransportError);
    throw dialError(error, peer, secret);
  }
}

function dialError(error: unknown, peer: string, secret: ClusterSecret | undefined): unknown {
  const code = error instanceof TransportError ? error.code : undefined;
  if (code !== 'closed' && code !== 'garbage') return error;
  return new TransportError(
    'garbage',
    `${peer} does not speak the protocol of daisychain${secret ? '' : ', or wants the cluster secret'}: is another program using that port?`,
    { cause: error },
  );
}

/** Asks a worker what it is, without taking it; works while it is busy. @throws TransportError as `dial` */
export async function inquire(
  options: Omit<DialOptions, 'hello'> & { readonly hello: Omit<Greeting, 'role'> },
): Promise<Inquiry> {
  const { connection, welcome, roundTripMs } = await dial({
    ...options,
    hello: { ...options.hello, role: 'info' },
  });
  connection.close('that is all');
  return { welcome, roundTripMs };
}

export interface ListenOptions {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** Peers must know it, and links are encrypted; without it anyone may connect. */
  readonly secret?: ClusterSecret | undefined;
  /** Decides about a peer by its hello; a TransportError that it throws is a refusal. */
  readonly answer: (hello: Hello) => Answer;
  /** A peer that is welcome, whatever it is for; those that only inquire are gone with the answer. */
  readonly onConnection: (connection: Connection, hello: Hello) => void;
  /** A peer that did not get through the handshake; for the log. */
  readonly onRejected: (reason: TransportError) => void;
}

/** Listens for peers. @throws TransportError 'port' when the port is taken or may not be used */
export function listen(options: ListenOptions): Promise<Listener> {
  const handshakes = new Set<net.Socket>();
  return acceptSockets({
    host: options.host,
    port: options.port,
    onSocket: (socket) => {
      const [oldest] = handshakes;
      if (oldest && handshakes.size >= maxHandshakes) {
        handshakes.delete(oldest);
        oldest.destroy();
      }
      handshakes.add(socket);
      void welcome(socket, options).finally(() => handshakes.delete(socket));
    },
    onError: options.onRejected,
  });
}

/** Never rejects: whatever goes wrong is this peer's end, and nobody else's. */
async function welcome(socket: net.Socket, options: ListenOptions): Promise<void> {
  const { remoteAddress = 'unknown', remotePort = 0 } = socket;
  const peer = `peer ${formatAddress(remoteAddress, remotePort)}`;
  let connection: Connection | undefined;
  try {
    connection = new Connection(await accept(socket, options.secret, peer), peer, handshakeLimits);
    const hello = await answerHello(connection, options.answer);
    connection.startHeartbeats();
    if (hello.role === 'info') connection.close('that is all');
    else options.onConnection(connection, hello);
  } catch (error) {
    const reason =
      error instanceof TransportError
        ? error
        : new TransportError('closed', `${peer}: ${(error as Error).message}`, { cause: error });
    connection?.fail(reason);
    options.onRejected(reason);
  }
}
