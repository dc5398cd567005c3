import type { Connection } from '../wire/connection.js';
import { TransportError } from '../wire/errors.js';
import { frameLimits } from '../wire/frames.js';
import type { Message, Messages } from '../messages/messages.js';

/** Both sides must speak the same version. */
export const protocolVersion = 7;

/** Until the handshake is done, a peer may send this much and take this long. */
export const handshakeLimits = { headerBytes: 1024, payloadBytes: 0 };
export const handshakeMs = 5000;

/** What a connection is for; daisychain.proto says what each is. */
export type Role = 'control' | 'tensor' | 'weights' | 'info';
const roles: readonly string[] = ['control', 'tensor', 'weights', 'info'] satisfies Role[];

export type Hello = Messages['hello'] & { readonly role: Role };
export type Welcome = Messages['welcome'];

/** What the dialling side says of itself; the version is known, and not every role has the rest. */
export type Greeting = Omit<Hello, 'protocolVersion' | 'session' | 'stage' | 'codec'> &
  Partial<Pick<Hello, 'session' | 'stage' | 'codec'>>;

/** What the side that listens decides about a peer. */
export type Answer = { welcome: Omit<Welcome, 'protocolVersion'> } | { refuse: Messages['refuse'] };

/**
 * The dialling side: says hello and waits to be welcome.
 * @throws TransportError 'refused', 'version', 'garbage', 'timeout' or 'closed'
 */
export async function sayHello(connection: Connection, greeting: Greeting): Promise<Welcome> {
  const nothing = { session: '', stage: 0, codec: '' };
  connection.send('hello', { protocolVersion, ...nothing, ...greeting });
  const message = await nextMessage(connection);
  if (message.kind === 'welcome' && message.body.protocolVersion === protocolVersion) {
    connection.limits = frameLimits;
    return message.body;
  }
  throw refusal(connection, message);
}

/**
 * The listening side: waits for a hello and answers it.
 * @param answer decides; a TransportError that it throws is a refusal
 * @throws TransportError when the peer does not speak the protocol, or another version, or was refused
 */
export async function answerHello(
  connection: Connection,
  answer: (hello: Hello) => Answer,
): Promise<Hello> {
  const message = await nextMessage(connection);
  if (message.kind !== 'hello') throw failed(connection, 'garbage', 'did not say hello');
  const hello = message.body;
  const decision = decide(hello, answer);
  if ('refuse' in decision) {
    connection.send('refuse', decision.refuse);
    connection.close(decision.refuse.message);
    throw new TransportError('refused', `${connection.peer}: ${decision.refuse.message}`);
  }
  connection.limits = frameLimits;
  connection.send('welcome', { protocolVersion, ...decision.welcome });
  return hello as Hello;
}

function decide(hello: Messages['hello'], answer: (hello: Hello) => Answer): Answer {
  if (hello.protocolVersion !== protocolVersion)
    return refuse(
      'version',
      `speaks protocol version ${protocolVersion}, the peer (daisychain ${hello.softwareVersion}) version ${hello.protocolVersion}: install the same daisychain on both`,
    );
  if (!roles.includes(hello.role))
    return refuse('role', `knows no role ${JSON.stringify(hello.role)}`);
  try {
    return answer(hello as Hello);
  } catch (error) {
    if (!(error instanceof TransportError)) throw error;
    return refuse(error.code, error.message);
  }
}

function refuse(code: string, message: string): Answer {
  return { refuse: { code, message } };
}

/**
 * The next message on a connection; those after it wait for another handler.
 * @throws TransportError when none comes within the time for handshakes, or the connection ends
 */
export async function nextMessage(connection: Connection): Promise<Message> {
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise<Message>((resolve, reject) => {
      connection.onMessage = (message) => {
        // What follows is for whoever uses the connection next.
        connection.onMessage = undefined;
        resolve(message);
      };
      void connection.closed.then(reject);
      timer = setTimeout(
        () => reject(failed(connection, 'timeout', `did not answer for ${handshakeMs / 1000} s`)),
        handshakeMs,
      );
    });
  } finally {
    clearTimeout(timer);
  }
}

function refusal(connection: Connection, message: Message): TransportError {
  if (message.kind === 'refuse') {
    const code = message.body.code === 'version' ? 'version' : 'refused';
    return failed(connection, code, message.body.message);
  }
  if (message.kind === 'welcome')
    return failed(
      connection,
      'version',
      `speaks protocol version ${message.body.protocolVersion}, this is ${protocolVersion}: install the same daisychain on both`,
    );
  return failed(connection, 'garbage', 'does not speak the protocol of daisychain');
}

function failed(
  connection: Connection,
  code: TransportError['code'],
  what: string,
): TransportError {
  const error = new TransportError(code, `${connection.peer} ${what}`);
  connection.fail(error);
  return error;
}
