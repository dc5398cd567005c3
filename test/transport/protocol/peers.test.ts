import net from 'node:net';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Connection } from '../../../transport/wire/connection.js';
import { TransportError } from '../../../transport/wire/errors.js';
import { frameStart } from '../../../transport/wire/frames.js';
import { protocolVersion, type Answer, type Hello } from '../../../transport/protocol/handshake.js';
import { encodeMessage } from '../../../transport/messages/messages.js';
import { dial, inquire, listen } from '../../../transport/protocol/peers.js';
import { formatAddress, type Listener } from '../../../transport/wire/tcp.js';
import { randomNumbers } from '../support/random.js';
import { closeAll, closeLater, connectTo, hello, serve, welcomeAll } from '../support/sockets.js';

afterEach(closeAll);

const host = '127.0.0.1';

const helloFrame = frameStart(encodeMessage('hello', helloBody()), 0);

interface Listening {
  readonly listener: Listener;
  readonly connections: { readonly connection: Connection; readonly hello: Hello }[];
  /** Resolves with so many reasons why peers were turned away. */
  readonly rejections: (count: number) => Promise<TransportError[]>;
}

async function listening(answer: (hello: Hello) => Answer = welcomeAll): Promise<Listening> {
  const connections: Listening['connections'] = [];
  const rejected: TransportError[] = [];
  let notice: () => void = () => undefined;
  const listener = await listen({
    host,
    port: 0,
    answer,
    onConnection: (connection, hello) => connections.push({ connection, hello }),
    onRejected: (reason) => {
      rejected.push(reason);
      notice();
    },
  });
  closeLater(() => listener.close());
  const rejections = async (count: number) => {
    while (rejected.length < count) await new Promise<void>((resolve) => (notice = resolve));
    return rejected;
  };
  return { listener, connections, rejections };
}

/** Dials, and closes with the test. */
async function call(port: number): ReturnType<typeof dial> {
  const dialed = await dial({ host, port, hello });
  closeLater(() => dialed.connection.close('the test is over'));
  return dialed;
}

/** The error of a promise that must not resolve; its message must be one line. */
async function errorOf(promise: Promise<unknown>): Promise<TransportError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(TransportError);
  expect((error as TransportError).message).not.toMatch(/[\r\n]/);
  return error as TransportError;
}

describe('a handshake', () => {
  test('lets both sides know each other', async () => {
    const { listener, connections } = await listening();
    const { connection, welcome } = await call(listener.port);
    expect(welcome).toMatchObject({ name: 'tester, process 1', device: 'CPU', threads: 2 });
    expect(welcome.freeBytes).toBe(2 ** 40 + 1);
    expect(welcome.protocolVersion).toBe(protocolVersion);
    expect(connections[0]?.hello).toMatchObject(hello);
    connection.close('enough');
    expect((await connections[0]?.connection.closed)?.message).toMatch(/^peer .*: enough$/);
  });

  test('opens a connection for large messages', async () => {
    const { listener, connections } = await listening();
    const { connection } = await call(listener.port);
    const size = await new Promise((resolve) => {
      const [other] = connections;
      if (other) other.connection.onMessage = (_, payload) => resolve(payload.byteLength);
      connection.send('tensorData', { name: 'x'.repeat(5000), offset: 0 }, new Uint8Array(1e6));
    });
    expect(size).toBe(1e6);
  });

  test('loses nothing of what follows it at once', async () => {
    const welcome = frameStart(encodeMessage('welcome', welcomeBody()), 0);
    const next = frameStart(
      encodeMessage('failed', { stage: 1, code: 'load', message: 'at once' }),
      0,
    );
    const port = await serve((socket) => void socket.write(Buffer.concat([welcome, next])));
    const { connection } = await call(port);
    const message = await new Promise((resolve) => (connection.onMessage = resolve));
    expect(message).toMatchObject({ kind: 'failed', body: { message: 'at once' } });
  });

  test('that is refused says why on both sides', async () => {
    const { listener, rejections } = await listening(() => ({
      refuse: { code: 'busy', message: 'is busy: try another one' },
    }));
    const error = await errorOf(dial({ host, port: listener.port, hello }));
    expect(error.code).toBe('refused');
    expect(error.message).toBe(
      `worker ${formatAddress(host, listener.port)} is busy: try another one`,
    );
    expect((await rejections(1))[0]?.message).toContain('is busy');
  });

  test('that the worker cannot decide about is refused with the cause', async () => {
    const { listener, rejections, connections } = await listening(() => {
      throw new TransportError('refused', 'unknown codec "mp3"');
    });
    const error = await errorOf(dial({ host, port: listener.port, hello }));
    expect([error.code, error.message]).toEqual([
      'refused',
      expect.stringContaining('unknown codec "mp3"'),
    ]);
    expect((await rejections(1))[0]?.message).toContain('mp3');
    expect(connections.length).toBe(0);
  });

  test.each([
    ['', 'knows no role ""'],
    ['__proto__', 'knows no role "__proto__"'],
  ])('for a role that does not exist (%j) is refused', async (role, message) => {
    const { listener, connections } = await listening();
    const greeting = { ...hello, role: role as 'info' };
    expect((await errorOf(dial({ host, port: listener.port, hello: greeting }))).message).toContain(
      message,
    );
    expect(connections.length).toBe(0);
  });

  test('says which stage and codec a link is for', async () => {
    const { listener, connections } = await listening();
    const link = { ...hello, role: 'tensor', stage: 3, codec: 'bf16' } as const;
    const { connection } = await dial({ host, port: listener.port, hello: link });
    expect(connections[0]?.hello).toMatchObject(link);
    connection.close('done');
  });

  test('with a caller of another version is refused, naming both', async () => {
    const { listener, rejections } = await listening();
    const socket = await connectTo(listener.port);
    const connection = new Connection(socket, 'listener');
    const answer = new Promise((resolve) => (connection.onMessage = resolve));
    connection.send('hello', { ...helloBody(), protocolVersion: protocolVersion + 1 });
    expect(await answer).toMatchObject({ kind: 'refuse', body: { code: 'version' } });
    const [reason] = await rejections(1);
    expect(reason?.message).toContain(`version ${protocolVersion},`);
    expect(reason?.message).toContain(`version ${protocolVersion + 1}:`);
  });

  test.each([
    ['welcomes', 'welcome', { ...welcomeBody(), protocolVersion: protocolVersion + 1 }],
    [
      'refuses',
      'refuse',
      { code: 'version', message: `speaks protocol version ${protocolVersion + 1}` },
    ],
  ] as const)('with a worker of another version, which %s, fails', async (_, kind, body) => {
    const port = await serve((socket) => new Connection(socket, 'caller').send(kind, body));
    const error = await errorOf(dial({ host, port, hello }));
    expect(error.code).toBe('version');
    expect(error.message).toContain(`version ${protocolVersion + 1}`);
  });

  test.each([
    ['another protocol', (socket: net.Socket) => void socket.write('HTTP/1.1 400 Bad\r\n\r\n')],
    ['a hello', (socket: net.Socket) => new Connection(socket, 'x').send('hello', helloBody())],
    ['the end of the connection', (socket: net.Socket) => void socket.destroy()],
    [
      'a payload',
      (socket: net.Socket) => void socket.write(frameStart(encodeMessage('heartbeat', {}), 1)),
    ],
  ])('that is answered with %s fails', async (_, answer) => {
    const port = await serve(answer);
    const error = await errorOf(dial({ host, port, hello }));
    expect(error.code).toBe('garbage');
    expect(error.message).toContain(formatAddress(host, port));
    expect(error.message).toContain('does not speak the protocol of daisychain');
  });
});

describe('an inquiry', () => {
  const name = { softwareVersion: '1.2.3', name: 'a test' };

  test('brings the welcome, and takes nothing', async () => {
    const asked: Hello[] = [];
    const { listener, connections } = await listening((hello) => {
      asked.push(hello);
      return welcomeAll();
    });
    const { welcome } = await inquire({ host, port: listener.port, hello: name });
    expect(welcome).toEqual(welcomeBody());
    expect(asked).toMatchObject([{ role: 'info' }]);
    expect(connections.length).toBe(0);
  });

  test('is over for the other side too, whatever the caller does', async () => {
    const { listener } = await listening();
    const { connection } = await dial({
      host,
      port: listener.port,
      hello: { ...name, role: 'info' },
    });
    connection.onMessage = ignore;
    expect((await connection.closed).message).toContain('that is all');
  });

  test('fails as a call does', async () => {
    const { listener } = await listening();
    await listener.close();
    const error = await errorOf(inquire({ host, port: listener.port, hello: name }));
    expect(error.code).toBe('unreachable');
    expect(error.cause).toMatchObject({ code: 'ECONNREFUSED' });
  });
});

test('a peer that the listener cannot take ends, and the next one is served', async () => {
  const rejected: TransportError[] = [];
  let calls = 0;
  const listener = await listen({
    host,
    port: 0,
    answer: welcomeAll,
    onConnection: () => {
      if (++calls === 1) throw new Error('no room');
    },
    onRejected: (reason) => rejected.push(reason),
  });
  closeLater(() => listener.close());
  const first = await call(listener.port);
  first.connection.onMessage = ignore;
  expect((await first.connection.closed).code).toBe('closed');
  expect(rejected).toMatchObject([{ message: expect.stringContaining('no room') as string }]);
  await call(listener.port);
  expect(calls).toBe(2);
});

function ignore(): void {
  // For what a test does not look at.
}

function helloBody(): Hello {
  return { session: '', stage: 0, codec: '', ...hello, protocolVersion };
}

function welcomeBody() {
  const answer = welcomeAll();
  if ('refuse' in answer) throw new Error('welcomeAll refuses');
  return { ...answer.welcome, protocolVersion };
}

describe('a silent peer', () => {
  // Only the transport's own timers: sockets have theirs elsewhere.
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }));
  afterEach(() => void vi.useRealTimers());

  test('that is called does not hold the caller up', async () => {
    let accept: () => void = () => undefined;
    const accepted = new Promise<void>((resolve) => (accept = resolve));
    const port = await serve((socket) => socket.once('data', accept));
    const error = errorOf(dial({ host, port, hello }));
    await accepted;
    vi.advanceTimersByTime(5000);
    expect((await error).code).toBe('timeout');
    expect((await error).message).toContain(formatAddress(host, port));
  });

  test('that calls is sent away', async () => {
    const { listener, rejections, connections } = await listening();
    const socket = await connectTo(listener.port);
    const ended = new Promise((resolve) => socket.once('close', resolve));
    // A few bytes do not buy more time.
    socket.resume().write(helloFrame.subarray(0, 8));
    while (vi.getTimerCount() === 0) await new Promise((resolve) => setImmediate(resolve));
    vi.advanceTimersByTime(5000);
    expect((await rejections(1))[0]?.code).toBe('timeout');
    await ended;
    expect(connections.length).toBe(0);
  });
});

describe('a worker that cannot be called', () => {
  test('because nobody listens is unreachable', async () => {
    const { listener } = await listening();
    await listener.close();
    const error = await errorOf(dial({ host, port: listener.port, hello }));
    expect(error.code).toBe('unreachable');
    expect(error.message).toContain(`worker ${formatAddress(host, listener.port)}`);
    expect(error.message).toContain('Is "daisychain worker" running there?');
  });

  test.each([0, 65536, 1.5, NaN])('because %d is no port is unreachable', async (port) => {
    const error = await errorOf(dial({ host, port, hello }));
    expect(error.code).toBe('unreachable');
    expect(error.message).toContain('65535');
  });

  test('is called as the caller likes', async () => {
    const { listener } = await listening();
    await listener.close();
    const error = await errorOf(dial({ host, port: listener.port, hello, peer: 'my friend' }));
    expect(error.message).toContain('my friend');
  });
});

describe('a listener', () => {
  test('cannot have a port that is taken', async () => {
    const { listener } = await listening();
    const { port } = listener;
    const options = {
      host,
      port,
      answer: welcomeAll,
      onConnection: ignore,
      onRejected: ignore,
    };
    const error = await errorOf(listen(options));
    expect(error.code).toBe('port');
    expect(error.message).toContain(`port ${port} is in use`);
    await listener.close();
    const second = await listen(options);
    expect(second.port).toBe(port);
    await second.close();
  });

  test('cannot have a port that does not exist', async () => {
    const options = { host, answer: welcomeAll, onConnection: ignore, onRejected: ignore };
    expect((await errorOf(listen({ ...options, port: 65536 }))).code).toBe('port');
  });

  test('cannot have an address that is not this machine', async () => {
    const error = await errorOf(
      listen({
        host: '192.0.2.1',
        port: 0,
        answer: welcomeAll,
        onConnection: ignore,
        onRejected: ignore,
      }),
    );
    expect(error.code).toBe('port');
    expect(error.message).toContain('192.0.2.1');
  });

  test.each([
    ['a web browser', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
    ['zeros', Buffer.alloc(100)],
    ['a length of 4 GB', Buffer.from('ffffffff0400', 'hex')],
    [
      'a hello with a payload',
      Buffer.concat([frameStart(helloFrame.subarray(6), 1), Buffer.alloc(1)]),
    ],
    [
      'a message before hello',
      frameStart(encodeMessage('statsRequest', { request: 1, stage: 0, reset: true }), 0),
    ],
    ['a hello that is too long', frameStart(encodeMessage('hello', tooLong()), 0)],
  ])('survives %s, and serves the next client', async (_, bytes) => {
    const { listener, connections, rejections } = await listening();
    const socket = await connectTo(listener.port);
    const ended = new Promise((resolve) => socket.once('close', resolve));
    socket.resume().write(bytes);
    const [reason] = await rejections(1);
    expect(reason?.code).toBe('garbage');
    expect(reason?.message).toMatch(/^peer 127\.0\.0\.1:\d+ [^\n]+$/);
    await ended;
    await call(listener.port);
    expect(connections.length).toBe(1);
  });

  test('survives scanners that connect and leave', async () => {
    const { listener, rejections } = await listening();
    for (let i = 0; i < 20; i++) {
      const socket = await connectTo(listener.port);
      if (i % 2) socket.resetAndDestroy();
      else socket.end();
    }
    await rejections(20);
    await call(listener.port);
  });

  test('survives random and damaged hellos, and serves the next client', async () => {
    const { listener, connections } = await listening();
    const random = randomNumbers(5);
    for (let round = 0; round < 300; round++) {
      const bytes = Buffer.from(helloFrame);
      for (let i = 0; i <= random() * 4; i++) bytes[random() * bytes.length] = random() * 256;
      const socket = await connectTo(listener.port);
      const ended = new Promise((resolve) => socket.once('close', resolve));
      socket.resume().end(bytes);
      await ended;
    }
    const before = connections.length;
    await call(listener.port);
    expect(connections.length).toBe(before + 1);
  });

  test('is not locked by many unfinished handshakes', async () => {
    const { listener, connections, rejections } = await listening();
    for (let i = 0; i < 300; i++) await connectTo(listener.port);
    await call(listener.port);
    expect(connections.length).toBe(1);
    expect((await rejections(200)).length).toBeLessThan(300);
  });

  test('ends all its connections when it is closed', async () => {
    const { listener } = await listening();
    const { connection } = await call(listener.port);
    const idle = await connectTo(listener.port);
    const idleEnded = new Promise((resolve) => idle.resume().once('close', resolve));
    await listener.close();
    expect((await connection.closed).code).toBe('closed');
    await idleEnded;
  });
});

function tooLong(): Hello {
  return { ...helloBody(), name: 'x'.repeat(10_000) };
}

describe('addresses', () => {
  test.each([
    ['127.0.0.1', 7070, '127.0.0.1:7070'],
    ['::1', 80, '[::1]:80'],
    ['host.local', 1, 'host.local:1'],
  ])('%s, port %i is written %s', (name, port, text) => {
    expect(formatAddress(name, port)).toBe(text);
  });
});
