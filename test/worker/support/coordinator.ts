import { createHash } from 'node:crypto';
import { tensorsOfShard } from '../../../model/shard-tensors.js';
import type { TensorSource } from '../../../model/tensor-source.js';
import type { Shard } from '../../../step/shard.js';
import type { Message, MessageKind, Messages } from '../../../transport/messages/messages.js';
import type { Greeting, Welcome } from '../../../transport/protocol/handshake.js';
import { dial } from '../../../transport/protocol/peers.js';
import type { Connection } from '../../../transport/wire/connection.js';
import type { ClusterSecret } from '../../../transport/wire/security.js';

export const sessionId = 'a session';

/** Connects to a worker on this machine. */
export async function connectAs(
  port: number,
  hello: Partial<Greeting>,
  secret?: ClusterSecret,
): Promise<{ connection: Connection; welcome: Welcome }> {
  return dial({
    secret,
    host: '127.0.0.1',
    port,
    hello: {
      role: 'control',
      session: sessionId,
      softwareVersion: 'test',
      name: 'a test',
      ...hello,
    },
  });
}

/** A control connection that says what the test wants, and keeps what the worker says. */
export class TestCoordinator {
  readonly messages: Message[] = [];
  #wake: () => void = () => undefined;
  #hasEnded = false;

  private constructor(
    readonly port: number,
    readonly welcome: Welcome,
    readonly control: Connection,
    private readonly secret: ClusterSecret | undefined,
  ) {
    control.onMessage = (message) => {
      this.messages.push(message);
      this.#wake();
    };
    void control.closed.then(() => {
      this.#hasEnded = true;
      this.#wake();
    });
  }

  static async connect(port: number, secret?: ClusterSecret): Promise<TestCoordinator> {
    const { connection, welcome } = await connectAs(port, {}, secret);
    return new TestCoordinator(port, welcome, connection, secret);
  }

  send<Kind extends MessageKind>(kind: Kind, body: Messages[Kind]): void {
    this.control.send(kind, body);
  }

  /** Takes the first message of a kind from those that have come, or waits for it. One wait at a time. */
  async next<Kind extends MessageKind>(kind: Kind): Promise<Messages[Kind]> {
    return (await this.nextOf(kind)).body as Messages[Kind];
  }

  async nextOf(...kinds: readonly MessageKind[]): Promise<Message> {
    for (;;) {
      const index = this.messages.findIndex(({ kind }) => kinds.includes(kind));
      const [found] = index < 0 ? [] : this.messages.splice(index, 1);
      if (found) return found;
      if (this.#hasEnded)
        throw new Error(`no ${kinds.join()}: ${(await this.control.closed).message}`);
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /**
   * Has a shard loaded, and sends what the worker lacks of it.
   * @returns names of what was sent
   * @throws Error with what the worker says
   */
  async load(body: Messages['loadShard'], source: TensorSource): Promise<readonly string[]> {
    this.send('loadShard', body);
    const first = await this.nextOf('ready', 'missing', 'failed');
    if (first.kind === 'failed') throw new Error(first.body.message);
    if (first.kind !== 'missing') return [];
    const { names } = first.body;
    const connection = await this.openWeights(body.stage);
    for (const name of names) await sendTensor(connection, source, name);
    const second = await this.nextOf('ready', 'failed');
    if (second.kind === 'failed') throw new Error(second.body.message);
    return names;
  }

  /** A connection to send tensors over, which does not care what of them is stored. */
  async openWeights(stage: number): Promise<Connection> {
    const { connection } = await connectAs(this.port, { role: 'weights', stage }, this.secret);
    connection.onMessage = () => undefined;
    return connection;
  }

  /** Goes away, as a process that ends does. */
  vanish(): void {
    this.control.close('the coordinator is gone');
  }
}

/** Sends a tensor in two parts. */
export async function sendTensor(
  connection: Connection,
  source: TensorSource,
  name: string,
): Promise<void> {
  const data = await tensorData(source, name);
  const half = Math.ceil(data.byteLength / 2);
  connection.send('tensorData', { name, offset: 0 }, data.subarray(0, half));
  connection.send('tensorData', { name, offset: half }, data.subarray(half));
  await connection.flushed();
}

export async function tensorData(source: TensorSource, name: string): Promise<Uint8Array> {
  const data = new Uint8Array(source.tensors.get(name)?.bytes ?? 0);
  await source.read(name, 0, data);
  return data;
}

/** What a coordinator says to a worker that holds the model. */
export function loadShardMessage(
  source: TensorSource,
  shard: Shard,
  stage = 1,
): Messages['loadShard'] {
  return {
    stage,
    shard,
    modelFingerprint: source.fingerprint,
    metadata: '',
    tensors: [],
    cells: 256,
    conversations: 1,
    states: 1,
    kvType: 'f16',
    maxStepRows: 16,
    countsRoutings: false,
  };
}

/** What it says to one that does not. */
export async function describedShardMessage(
  source: TensorSource,
  shard: Shard,
  stage = 1,
): Promise<Messages['loadShard']> {
  const tensors = tensorsOfShard(source.tensors, shard).map(async (tensor) => ({
    name: tensor.name,
    type: tensor.type.id,
    shape: [...tensor.shape],
    bytes: tensor.bytes,
    sha256: createHash('sha256')
      .update(await tensorData(source, tensor.name))
      .digest('hex'),
  }));
  return {
    ...loadShardMessage(source, shard, stage),
    metadata: JSON.stringify([...source.metadata].filter(([, value]) => typeof value !== 'bigint')),
    tensors: await Promise.all(tensors),
  };
}
