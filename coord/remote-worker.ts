import os from 'node:os';
import { engineNames, type EngineName } from '../engine/engine.js';
import type { TensorSource } from '../model/tensor-source.js';
import type { Connection } from '../transport/wire/connection.js';
import type { ClusterSecret } from '../transport/wire/security.js';
import { formatAddress } from '../transport/wire/tcp.js';
import type { Welcome } from '../transport/protocol/handshake.js';
import { dial } from '../transport/protocol/peers.js';
import type { Message } from '../transport/messages/messages.js';
import { TransportError } from '../transport/wire/errors.js';
import { CoordinatorError } from './errors.js';

/** Where a worker listens. */
export interface WorkerAddress {
  readonly host: string;
  readonly port: number;
}

/** How a coordinator introduces itself. */
export interface Introduction {
  readonly session: string;
  readonly softwareVersion: string;
  /** Encrypts all links and proves both sides to each other. */
  readonly secret?: ClusterSecret;
}

/** A message about one of the worker's stages. */
export type StageMessage = Extract<Message, { body: { stage: number } }>;

type Handler = (message: StageMessage) => void;

/** A worker as the coordinator sees it: its control connection, which the stages that it holds share. */
export class RemoteWorker {
  /** Resolves with the reason when the worker is gone by itself; never rejects. */
  readonly lost: Promise<CoordinatorError>;
  #lose!: (error: CoordinatorError) => void;
  #lostError: CoordinatorError | undefined;
  #isClosed = false;
  /** Of the stages that the worker holds, by their numbers. */
  readonly #handlers = new Map<number, Handler>();
  /** Whoever waits for the worker. */
  readonly #waiting = new Set<(error: CoordinatorError) => void>();
  #lastStage = 0;
  #lastRequest = 0;

  private constructor(
    readonly address: WorkerAddress,
    readonly welcome: Welcome,
    readonly control: Connection,
    private readonly introduction: Introduction,
  ) {
    this.lost = new Promise((resolve) => (this.#lose = resolve));
    void control.closed.then(({ message }) => this.#ended(message));
    control.onMessage = (message) => {
      if (!('stage' in message.body))
        throw new TransportError('garbage', `a ${message.kind} message here`);
      // Of a stage that was given up, messages may still be on their way.
      this.#handlers.get(message.body.stage)?.(message as StageMessage);
    };
  }

  /** @throws TransportError when the worker cannot be reached or does not want this coordinator */
  static async connect(address: WorkerAddress, introduction: Introduction): Promise<RemoteWorker> {
    const { connection, welcome } = await dial(dialOptions(address, introduction, 'control', 0));
    return new RemoteWorker(address, welcome, connection, introduction);
  }

  get name(): string {
    return formatAddress(this.address.host, this.address.port);
  }

  /** What it computes with. @throws CoordinatorError 'worker-refused' for one that is not known here */
  get engine(): EngineName {
    const engine = engineNames.find((name) => name === this.welcome.engine);
    if (engine) return engine;
    throw this.refusal(
      `computes with "${this.welcome.engine}", which is not known here: install the same daisychain`,
    );
  }

  /** Begins to hold another stage. @param handle hears of it @returns its number */
  addStage(handle: Handler): number {
    this.#handlers.set(++this.#lastStage, handle);
    return this.#lastStage;
  }

  removeStage(stage: number): void {
    this.#handlers.delete(stage);
  }

  /** Stages that it holds. */
  get stages(): number {
    return this.#handlers.size;
  }

  get isGone(): boolean {
    return this.#lostError !== undefined;
  }

  /** A number for another question. */
  newRequest(): number {
    return ++this.#lastRequest;
  }

  /** Waits for something, but not for a worker that is gone. @throws CoordinatorError 'worker-lost' */
  async whileAlive<Result>(promise: Promise<Result>): Promise<Result> {
    let giveUp!: (error: CoordinatorError) => void;
    const gone = new Promise<never>((_, reject) => (giveUp = reject));
    if (this.#lostError) giveUp(this.#lostError);
    this.#waiting.add(giveUp);
    try {
      return await Promise.race([gone, promise]);
    } finally {
      this.#waiting.delete(giveUp);
    }
  }

  /** A connection of its own for the tensors of a stage. @throws TransportError */
  async openWeights(stage: number): Promise<Connection> {
    const options = dialOptions(this.address, this.introduction, 'weights', stage);
    return (await dial(options)).connection;
  }

  /** @throws CoordinatorError 'worker-refused' when the worker holds another model */
  checkModel({ fingerprint }: TensorSource): void {
    const { modelFingerprint } = this.welcome;
    if (modelFingerprint !== '' && modelFingerprint !== fingerprint)
      throw this.refusal(
        'holds another model: start it with the same --model file, or without --model to have its shard sent',
      );
  }

  refusal(why: string): CoordinatorError {
    return new CoordinatorError('worker-refused', `worker ${this.name} ${why}`);
  }

  /** Ends the connection; the worker then frees everything. Idempotent. */
  close(reason: string): void {
    this.#isClosed = true;
    this.control.close(reason);
  }

  #ended(why: string): void {
    this.#lostError = this.#lossBecause(why);
    if (!this.#isClosed) this.#lose(this.#lostError);
    for (const giveUp of this.#waiting) giveUp(this.#lostError);
  }

  #lossBecause(why: string): CoordinatorError {
    // The reason may begin with the name that ours begins with.
    const own = `worker ${this.name}`;
    const rest = why.startsWith(own) ? why.slice(own.length).replace(/^:? /, '') : why;
    return new CoordinatorError('worker-lost', `lost worker ${this.name}: ${rest}`);
  }
}

function dialOptions(
  address: WorkerAddress,
  { session, softwareVersion, secret }: Introduction,
  role: 'control' | 'weights',
  stage: number,
) {
  const name = `coordinator on ${os.hostname()}, process ${process.pid}`;
  const hello = { role, session, softwareVersion, name, stage };
  return { ...address, hello, ...(secret ? { secret } : {}) };
}

/**
 * Connects to all workers, or to none.
 * @throws TransportError of the first that cannot be reached or does not want this coordinator
 */
export async function connectWorkers(
  addresses: readonly WorkerAddress[],
  introduction: Introduction,
): Promise<RemoteWorker[]> {
  const results = await Promise.allSettled(
    addresses.map((address) => RemoteWorker.connect(address, introduction)),
  );
  const connected = results.flatMap((result) =>
    result.status === 'fulfilled' ? [result.value] : [],
  );
  for (const result of results) {
    if (result.status === 'fulfilled') continue;
    for (const worker of connected) worker.close('the coordinator gave up');
    throw result.reason;
  }
  return connected;
}
