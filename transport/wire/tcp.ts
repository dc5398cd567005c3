import net from 'node:net';
import { TransportError } from './errors.js';
import { secureAccepted, secureDialled, type ClusterSecret } from './security.js';

/** Time for a connection to be made, and again for the two sides to prove that they know the secret. */
const connectMs = 5000;

export interface ConnectOptions {
  readonly host: string;
  readonly port: number;
  /** Encrypts the link and proves both sides to each other; without it neither is done. */
  readonly secret?: ClusterSecret | undefined;
  /** How messages call the other side. */
  readonly peer: string;
}

/** Opens a socket to another process. @throws TransportError 'unreachable' or 'secret' */
export async function connect(options: ConnectOptions): Promise<net.Socket> {
  const { secret, peer } = options;
  const socket = await connectPlain(options);
  return secret ? withinTime(socket, secureDialled(socket, secret, peer)) : socket;
}

/** Encrypts a socket that was accepted, where there is a secret. @throws TransportError 'secret' */
export async function accept(
  socket: net.Socket,
  secret: ClusterSecret | undefined,
  peer: string,
): Promise<net.Socket> {
  return secret ? withinTime(socket, secureAccepted(socket, secret, peer)) : socket;
}

function connectPlain({ host, port, peer }: ConnectOptions): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    if (!isPort(port) || port === 0)
      throw new TransportError('unreachable', `cannot reach ${peer}: ports go from 1 to 65535`);
    const socket = net.connect({ host, port, noDelay: true });
    const fail = (what: string, cause?: Error) => {
      socket.destroy();
      reject(
        new TransportError(
          'unreachable',
          `cannot reach ${peer}: ${what}. Is "daisychain worker" running there?`,
          { cause },
        ),
      );
    };
    socket.setTimeout(connectMs, () => fail(`no answer within ${connectMs / 1000} s`));
    socket.once('error', (error: NodeJS.ErrnoException) => fail(causeOf(error), error));
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

/** Ends a socket whose peer takes too long to prove itself. */
async function withinTime<Result>(socket: net.Socket, work: Promise<Result>): Promise<Result> {
  const timer = setTimeout(() => socket.destroy(), connectMs);
  try {
    return await work;
  } finally {
    clearTimeout(timer);
  }
}

export interface AcceptOptions {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  readonly onSocket: (socket: net.Socket) => void;
  /** A peer could not be accepted; the next one may fare better. */
  readonly onError: (error: TransportError) => void;
}

/** A port that takes connections until it is closed. */
export interface Listener {
  readonly port: number;
  /** Ends all its sockets. */
  close(): Promise<void>;
}

/** Opens a port. @throws TransportError 'port' when the port is taken or may not be used */
export async function acceptSockets(options: AcceptOptions): Promise<Listener> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    options.onSocket(socket);
  });
  await new Promise<void>((resolve, reject) => {
    if (!isPort(options.port))
      throw new TransportError('port', `${options.port} is no port: they go from 1 to 65535`);
    server.once('error', (error: NodeJS.ErrnoException) => reject(portError(error, options)));
    server.listen({ host: options.host, port: options.port }, resolve);
  });
  // Such as too many open files.
  server.on('error', (cause) =>
    options.onError(
      new TransportError('closed', `cannot accept a peer: ${cause.message}`, { cause }),
    ),
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

function portError(
  error: NodeJS.ErrnoException,
  { host, port }: Pick<AcceptOptions, 'host' | 'port'>,
): TransportError {
  const causes: Record<string, string> = {
    EADDRINUSE: `port ${port} is in use on ${host}: end the other program or choose another --port`,
    EACCES: `port ${port} needs special rights: choose a --port of 1024 or more`,
    EADDRNOTAVAIL: `${host} is not an address of this machine: choose another --host`,
    ENOTFOUND: `${host} is not an address of this machine: choose another --host`,
  };
  const what =
    causes[error.code ?? ''] ?? `cannot listen on ${formatAddress(host, port)}: ${error.code}`;
  return new TransportError('port', what, { cause: error });
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 0 && port <= 0xffff;
}

/** host:port, with brackets around IPv6 addresses. */
export function formatAddress(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
