import net from 'node:net';
import { Connection } from '../../../transport/wire/connection.js';
import type { Answer, Greeting } from '../../../transport/protocol/handshake.js';

const closers: (() => Promise<void> | void)[] = [];

/** Closes what the functions below have opened; for `afterEach`. */
export async function closeAll(): Promise<void> {
  for (const close of closers.splice(0).reverse()) await close();
}

/** Has something closed by `closeAll`. */
export function closeLater(close: () => Promise<void> | void): void {
  closers.push(close);
}

/** A server on a free loopback port that hands every socket to `onSocket`. */
export async function serve(onSocket: (socket: net.Socket) => void): Promise<number> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    onSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closeLater(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as net.AddressInfo).port;
}

/** A socket that is connected to a loopback port. */
export async function connectTo(port: number): Promise<net.Socket> {
  const socket = net.connect({ host: '127.0.0.1', port });
  socket.on('error', () => undefined);
  closeLater(() => void socket.destroy());
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  return socket;
}

/** The two ends of one loopback connection. */
export async function socketPair(): Promise<[net.Socket, net.Socket]> {
  let accept: (socket: net.Socket) => void = () => undefined;
  const accepted = new Promise<net.Socket>((resolve) => (accept = resolve));
  const port = await serve(accept);
  return [await connectTo(port), await accepted];
}

/** A connection, named `far`, and the raw socket at its other end. */
export async function connectionToSocket(): Promise<{ connection: Connection; far: net.Socket }> {
  const [near, far] = await socketPair();
  const connection = new Connection(near, 'far');
  closeLater(() => connection.close('the test is over'));
  return { connection, far };
}

/** Two connections that are joined; each calls the other by name. */
export async function connectionPair(): Promise<{ near: Connection; far: Connection }> {
  const [nearSocket, farSocket] = await socketPair();
  const near = new Connection(nearSocket, 'far');
  const far = new Connection(farSocket, 'near');
  closeLater(() => near.close('the test is over'));
  closeLater(() => far.close('the test is over'));
  return { near, far };
}

/** What a worker would answer to everyone. */
export const welcomeAll = (): Answer => ({
  welcome: {
    softwareVersion: '1.2.3',
    name: 'tester, process 1',
    machineId: 'a machine',
    engine: 'ggml',
    modelFingerprint: '',
    freeBytes: 2 ** 40 + 1,
    device: 'CPU',
    threads: 2,
    busy: false,
  },
});

/** What a coordinator would say. */
export const hello: Greeting = {
  softwareVersion: '1.2.3',
  role: 'control',
  session: 'a session',
  name: 'a test',
};
