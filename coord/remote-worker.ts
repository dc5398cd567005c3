import type { TensorInfo, TensorSource } from '../model/tensor-source.js';
import type { Connection } from '../transport/connection.js';
import type { Welcome } from '../transport/handshake.js';
import type { Message, Messages } from '../transport/messages.js';
import type { ClusterSecret } from '../transport/security.js';
import { fromBytes } from '../transport/steps.js';
import type { TraceEvent } from '../transport/tracer.js';
import { dial, formatAddress } from '../transport/tcp.js';
import { CoordinatorError } from './errors.js';

/** Where a worker listens. */
export interface WorkerAddress {
  readonly host: string;
  readonly port: number;
}

/** What a worker reports while it computes. */
export interface WorkerEvents {
  onResult(id: number, tokens: Int32Array): void;
  onStepFailed(id: number, error: Error): void;
  /** The worker, or its link to the next one, is gone. Called once. */
  onLost(error: Error): void;
}

/** Bytes of tensors that may be on their way to a worker's disk. */
const sendWindowBytes = 32 << 20;
const sendChunkBytes = 4 << 20;

const answerMs = 5000;

/** A worker as the coordinator sees it: its control connection. */
export class RemoteWorker {
  events: WorkerEvents | undefined;
  #waiting = new Map<Message['kind'], (message: Message) => void>();
  #failLoad: ((error: Error) => void) | undefined;
  #onLoadProgress: ((loadedBytes: number, totalBytes: number) => void) | undefined;
  #storedBytes = 0;
  #onStored: (() => void) | undefined;
  #lost: Error | undefined;

  private constructor(
    readonly address: WorkerAddress,
    readonly welcome: Welcome,
    private readonly control: Connection,
  ) {
    control.onMessage = (message) => this.#handle(message);
    void control.closed.then((reason) => this.#lose(reason.message));
  }

  /** @throws TransportError when the worker cannot be reached or does not want this coordinator. */
  static async connect(
    address: WorkerAddress,
    session: string,
    softwareVersion: string,
    name: string,
    secret?: ClusterSecret,
  ): Promise<RemoteWorker> {
    const hello = { role: 'control', session, softwareVersion, name };
    const { connection, welcome } = await dial({
      ...address,
      hello,
      ...(secret ? { secret } : {}),
    });
    return new RemoteWorker(address, welcome, connection);
  }

  get name(): string {
    return formatAddress(this.address.host, this.address.port);
  }

  /**
   * Has the worker load its stage, and sends it the tensors that it asks for.
   * @returns what became of it
   * @throws CoordinatorError 'worker-refused' when it cannot, 'worker-lost' when it goes away
   */
  async load(
    load: Messages['load'],
    source: TensorSource,
    onProgress: (loadedBytes: number, totalBytes: number) => void,
  ): Promise<Messages['ready']> {
    const failed = new Promise<never>((_, reject) => (this.#failLoad = reject));
    failed.catch(() => undefined);
    const ready = this.#next('ready');
    const missing = this.#next('missing');
    this.#onLoadProgress = onProgress;
    this.control.send('load', load);
    const first = await Promise.race([ready, missing, failed]);
    if (first.kind === 'missing')
      await Promise.race([this.#sendTensors(first.body.names, source, onProgress), failed]);
    const { body } = await Promise.race([ready, failed]);
    this.#failLoad = undefined;
    return body;
  }

  cancel(ids: readonly number[]): void {
    this.control.send('cancel', { ids: [...ids] });
  }

  /** @throws CoordinatorError 'worker-lost' when the worker does not answer */
  async stats(reset: boolean): Promise<Messages['stats']> {
    return (await this.#ask('stats', () => this.control.send('statsRequest', { reset }))).body;
  }

  startTrace(): void {
    this.control.send('traceRequest', { start: true });
  }

  /** What the worker did since `startTrace`, by this machine's clock. @throws CoordinatorError 'worker-lost' */
  async stopTrace(): Promise<TraceEvent[]> {
    const asked = performance.now();
    const { body } = await this.#ask('trace', () =>
      this.control.send('traceRequest', { start: false }),
    );
    // The worker read its clock about halfway between question and answer.
    const ahead = body.nowMs - (performance.timeOrigin + (asked + performance.now()) / 2);
    const events = JSON.parse(body.events) as TraceEvent[];
    return events.map((event) => ({ ...event, beginMs: event.beginMs - ahead }));
  }

  close(reason: string): void {
    this.events = undefined;
    this.control.close(reason);
  }

  #handle(message: Message): void {
    switch (message.kind) {
      case 'result':
        this.events?.onResult(message.body.id, fromBytes(message.body.tokens));
        return;
      case 'stepFailed':
        this.events?.onStepFailed(
          message.body.id,
          new CoordinatorError('step', `worker ${this.name}: ${message.body.message}`),
        );
        return;
      case 'failed':
        this.#failed(message.body);
        return;
      case 'stored':
        this.#storedBytes = message.body.bytes;
        this.#onStored?.();
        return;
      case 'loadProgress':
        this.#onLoadProgress?.(message.body.loadedBytes, message.body.totalBytes);
        return;
      default:
        this.#waiting.get(message.kind)?.(message);
        this.#waiting.delete(message.kind);
    }
  }

  #failed({ code, message }: Messages['failed']): void {
    if (code === 'link') return this.#lose(`lost its next stage: ${message}`);
    this.#failLoad?.(new CoordinatorError('worker-refused', `worker ${this.name}: ${message}`));
  }

  #lose(why: string): void {
    if (this.#lost) return;
    // The reason may begin with the name that ours begins with.
    const own = `worker ${this.name}`;
    const rest = why.startsWith(own) ? why.slice(own.length).replace(/^:? /, '') : why;
    this.#lost = this.#lostError(rest);
    this.#failLoad?.(this.#lost);
    this.events?.onLost(this.#lost);
  }

  #lostError(why: string): CoordinatorError {
    return new CoordinatorError('worker-lost', `lost worker ${this.name}: ${why}`);
  }

  async #ask<Kind extends Message['kind']>(
    kind: Kind,
    ask: () => void,
  ): Promise<Extract<Message, { kind: Kind }>> {
    if (this.#lost) throw this.#lost;
    const answer = this.#next(kind);
    ask();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const fail = () => reject(this.#lost ?? this.#lostError('does not answer'));
      timer = setTimeout(fail, answerMs);
      void this.control.closed.then(fail);
    });
    late.catch(() => undefined);
    try {
      return await Promise.race([answer, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  #next<Kind extends Message['kind']>(kind: Kind): Promise<Extract<Message, { kind: Kind }>> {
    return new Promise((resolve) =>
      this.#waiting.set(kind, (message) => resolve(message as Extract<Message, { kind: Kind }>)),
    );
  }

  /** Sends tensors in chunks, never more ahead of the worker's disk than the window. */
  async #sendTensors(
    names: readonly string[],
    source: TensorSource,
    onProgress: (sentBytes: number, totalBytes: number) => void,
  ): Promise<void> {
    const tensors = names.flatMap((name): TensorInfo[] => {
      const tensor = source.tensors.get(name);
      return tensor ? [tensor] : [];
    });
    const total = tensors.reduce((sum, { bytes }) => sum + bytes, 0);
    let sent = 0;
    for (const { name, bytes } of tensors)
      for (let offset = 0; offset < bytes; offset += sendChunkBytes) {
        const chunk = new Uint8Array(Math.min(sendChunkBytes, bytes - offset));
        await source.read(name, offset, chunk);
        while (sent - this.#storedBytes > sendWindowBytes && !this.#lost)
          await new Promise<void>((resolve) => (this.#onStored = resolve));
        this.control.send('tensorData', { name, offset }, chunk);
        await this.control.flushed();
        sent += chunk.byteLength;
        onProgress(this.#storedBytes, total);
      }
  }
}
