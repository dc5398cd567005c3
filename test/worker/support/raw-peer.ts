import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import {
  decodeMessage,
  encodeMessage,
  type Message,
  type MessageKind,
  type Messages,
} from '../../../transport/messages/messages.js';
import { protocolVersion } from '../../../transport/protocol/handshake.js';
import { FrameParser, frameStart } from '../../../transport/wire/frames.js';
import type { ClusterSecret } from '../../../transport/wire/security.js';
import { connect } from '../../../transport/wire/tcp.js';

const none = new Uint8Array(0);

/** Who waits for news of any peer. */
const waiting = new Set<() => void>();

/** Waits for something to become true that is so by what peers hear. */
export async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise<void>((resolve) => waiting.add(resolve));
}

function tellNews(): void {
  for (const resolve of waiting) resolve();
  waiting.clear();
}

/** A peer of a worker that knows the secret and how frames are made, and says whatever the test wants in them. */
export class RawPeer {
  isClosed = false;
  readonly #heard: Message[] = [];
  readonly #heartbeat = setInterval(() => this.say('heartbeat', {}), 1000);

  private constructor(private readonly socket: Duplex) {
    const parser = new FrameParser((header) => {
      const message = decodeMessage(header);
      if (!message) throw new Error('the worker sent a frame that is no message');
      if (message.kind !== 'heartbeat') this.#heard.push(message);
      tellNews();
    });
    socket.on('data', (chunk: Buffer) => parser.push(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => this.#end());
    socket.on('end', () => this.#end());
  }

  static async connect(port: number, secret: ClusterSecret): Promise<RawPeer> {
    return new RawPeer(await connect({ host: '127.0.0.1', port, secret, peer: 'the worker' }));
  }

  /** Says hello as it should be said. @returns the answer; undefined when the worker has closed */
  async greet(hello: Partial<Messages['hello']>): Promise<Message | undefined> {
    const nothing = { session: '', stage: 0, codec: '', softwareVersion: 'test', name: 'a test' };
    this.say('hello', { protocolVersion, role: 'info', ...nothing, ...hello });
    return this.next('welcome', 'refuse');
  }

  /** Sends a frame. @param header whatever it is; a long one leaves no place for a payload */
  send(header: Uint8Array, payload: Uint8Array = none): void {
    if (this.isClosed || !this.socket.writable) return;
    const rest = header.byteLength > 0xffff ? none : payload;
    this.socket.write(Buffer.concat([frameStart(header, rest.byteLength), rest]));
  }

  say<Kind extends MessageKind>(
    kind: Kind,
    body: Messages[Kind],
    payload: Uint8Array = none,
  ): void {
    this.send(encodeMessage(kind, body), payload);
  }

  /** Whether it has heard such a message that nobody has taken. */
  hasHeard(isMeant: (message: Message) => boolean): boolean {
    return this.#heard.some(isMeant);
  }

  /** Takes all that it has heard. */
  takeAll(): Message[] {
    return this.#heard.splice(0);
  }

  /** Takes the first message of some kinds, or waits for it. @returns undefined when the worker has closed */
  async next(...kinds: readonly MessageKind[]): Promise<Message | undefined> {
    const isMeant = ({ kind }: Message) => kinds.includes(kind);
    await until(() => this.isClosed || this.hasHeard(isMeant));
    const index = this.#heard.findIndex(isMeant);
    return index < 0 ? undefined : this.#heard.splice(index, 1)[0];
  }

  /** Goes away without a word. */
  async close(): Promise<void> {
    if (!this.socket.destroyed) {
      const closed = once(this.socket, 'close');
      this.socket.destroy();
      await closed;
    }
    this.#end();
  }

  #end(): void {
    this.isClosed = true;
    clearInterval(this.#heartbeat);
    tellNews();
  }
}
