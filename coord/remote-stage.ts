import type { SegmentId } from '../stage/wanted-segments.js';
import type { StoredKvType } from '../engine/engine.js';
import type { KeyedPage } from '../step/pages.js';
import type { NextStage } from '../stage/outgoing-link.js';
import type { Step } from '../step/step.js';
import type { Messages, StageReport } from '../transport/messages/messages.js';
import type { AgreedCodec } from '../transport/protocol/agree-on-codec.js';
import { joinKeys, mostPages } from '../transport/protocol/page-keys.js';
import { readResult } from '../transport/protocol/steps.js';
import type { TraceEvent } from '../transport/protocol/tracer.js';
import { codecNamed } from '../transport/wire/codecs/codecs.js';
import { CoordinatorError } from './errors.js';
import { loadShardMessage } from './load-shard.js';
import { cancelled } from './pipeline.js';
import type { RemoteWorker, StageMessage } from './remote-worker.js';
import { sendTensors } from './send-tensors.js';
import type { LoadedStage, LoadRequest, StagePort, StagePortEvents } from './stage-port.js';
import type { TensorHashes } from './tensor-hashes.js';

/** A worker that lives answers questions within this time. */
const answerMs = 5000;

/** A stage in a worker. */
export class RemoteStage implements StagePort {
  readonly #number: number;
  /** Rejects what waits for the stage when it says that it failed. */
  #fail: ((error: CoordinatorError) => void) | undefined;
  #onLoadProgress: LoadRequest['onProgress'] | undefined;
  readonly #waiting = new Map<string, (body: never) => void>();
  #closing: Promise<void> | undefined;

  constructor(
    readonly worker: RemoteWorker,
    private readonly hashes: TensorHashes,
    private readonly events: StagePortEvents,
  ) {
    this.#number = worker.addStage((message) => this.#handle(message));
  }

  get name(): string {
    return this.worker.name;
  }

  /** Software of one version computes with libraries of one version. */
  get computer(): string {
    const { machineId, softwareVersion, engine, device, threads } = this.worker.welcome;
    return JSON.stringify([machineId, softwareVersion, engine, device, threads]);
  }

  get arithmetic(): string {
    const { softwareVersion, engine, device } = this.worker.welcome;
    return JSON.stringify([softwareVersion, engine, device]);
  }

  get address() {
    return { ...this.worker.address, stage: this.#number };
  }

  get lost(): Promise<CoordinatorError> {
    return this.worker.lost;
  }

  async load(request: LoadRequest): Promise<LoadedStage> {
    this.worker.checkModel(request.source);
    const aborted = new Promise<never>((_, reject) => {
      request.signal.addEventListener('abort', () => reject(cancelled()), { once: true });
      if (request.signal.aborted) reject(cancelled());
    });
    aborted.catch(() => undefined);
    this.#onLoadProgress = request.onProgress;
    const { weights, kv, compute, kvType, movesPages } = await this.worker.whileAlive(
      Promise.race([this.#load(request), aborted]),
    );
    return { memory: { weights, kv, compute }, kvType: kvType as StoredKvType, movesPages };
  }

  async #load(request: LoadRequest): Promise<Messages['ready']> {
    const holdsModel = this.worker.welcome.modelFingerprint !== '';
    const message = await loadShardMessage(this.#number, request, holdsModel, this.hashes);
    request.signal.throwIfAborted();
    return this.#untilFailed(async () => {
      const ready = this.#next('ready');
      const missing = this.#next('missing');
      this.worker.control.send('loadShard', message);
      const first = await Promise.race([ready, missing]);
      if ('names' in first && first.names.length > 0) await this.#send(first.names, request);
      return ready;
    });
  }

  async #send(
    names: readonly string[],
    { source, onProgress, signal }: LoadRequest,
  ): Promise<void> {
    const connection = await this.worker.openWeights(this.#number);
    try {
      await sendTensors(connection, source, names, onProgress, signal);
    } finally {
      connection.close('all tensors are sent');
    }
  }

  async link(epoch: number, next?: NextStage): Promise<AgreedCodec | undefined> {
    const linked = () => {
      const answer = this.#next('linked');
      const plan = next && { transport: 'auto', rdmaQueue: '', ...next };
      this.worker.control.send('link', {
        stage: this.#number,
        epoch,
        ...(plan ? { next: plan } : {}),
      });
      return answer;
    };
    const { link } = await this.worker.whileAlive(this.#untilFailed(linked));
    return link && { ...link, codec: codecNamed(link.codec).name };
  }

  submit(step: Step): never {
    throw new CoordinatorError(
      'step',
      `step ${step.id}: only a coordinator's own stage is the first`,
    );
  }

  cancel(segments: readonly SegmentId[]): void {
    this.worker.control.send('cancel', {
      steps: segments.map(({ step }) => step),
      sequences: segments.map(({ sequence }) => sequence),
    });
  }

  knownPages(keys: readonly string[]): Promise<number> {
    return this.#countInParts(keys, (part, ids) =>
      this.worker.control.send('knownPages', { ...ids, keys: joinKeys(part) }),
    );
  }

  restorePages(epoch: number, pages: readonly KeyedPage[]): Promise<number> {
    return this.#countInParts(pages, (part, ids) =>
      this.worker.control.send('restorePages', { ...ids, ...partOf(epoch, part) }),
    );
  }

  async report(reset: boolean): Promise<StageReport> {
    const request = this.worker.newRequest();
    const answer = this.#next('stats', request);
    this.worker.control.send('statsRequest', { request, stage: this.#number, reset });
    return (await this.#inTime(answer)).report;
  }

  async bandwidth(): Promise<number> {
    const request = this.worker.newRequest();
    const answer = this.#next('bandwidth', request);
    this.worker.control.send('bandwidthRequest', { request, stage: this.#number });
    return (await this.#inTime(answer)).bytesPerSecond;
  }

  startTrace(): void {
    const request = this.worker.newRequest();
    this.worker.control.send('traceRequest', { request, stage: this.#number, start: true });
  }

  async stopTrace(): Promise<TraceEvent[]> {
    const request = this.worker.newRequest();
    const asked = performance.now();
    const answer = this.#next('trace', request);
    this.worker.control.send('traceRequest', { request, stage: this.#number, start: false });
    const { events, nowMs } = await this.#inTime(answer);
    // The worker read its clock about halfway between question and answer.
    const ahead = nowMs - (performance.timeOrigin + (asked + performance.now()) / 2);
    return (JSON.parse(events) as TraceEvent[]).map((event) => ({
      ...event,
      beginMs: event.beginMs - ahead,
    }));
  }

  close(_reason: string): Promise<void> {
    return (this.#closing ??= this.#unload());
  }

  /** Has the stage freed, by a worker that still lives. */
  async #unload(): Promise<void> {
    const unloaded = this.#next('unloaded');
    this.worker.control.send('unload', { stage: this.#number });
    await this.#inTime(unloaded).catch(() => undefined);
    this.worker.removeStage(this.#number);
  }

  #handle(message: StageMessage): void {
    switch (message.kind) {
      case 'result':
        return this.events.onResult(message.body, readResult(message.body).results);
      case 'stepFailed': {
        const what = `worker ${this.name}: ${message.body.message}`;
        return this.events.onStepFailed(message.body, new CoordinatorError('step', what));
      }
      case 'failed':
        return this.#failed(message.body);
      case 'loadProgress':
        return this.#onLoadProgress?.(message.body.loadedBytes, message.body.totalBytes);
      case 'stats':
      case 'bandwidth':
      case 'trace':
      case 'pageCount':
        return this.#answer(`${message.kind} ${message.body.request}`, message.body);
      default:
        return this.#answer(message.kind, message.body);
    }
  }

  #failed({ code, message }: Messages['failed']): void {
    if (code === 'lost') this.events.onLinkLost(this, message);
    else this.#fail?.(new CoordinatorError('worker-refused', `worker ${this.name}: ${message}`));
  }

  /** Asks about as many pages at a time as a message can name, up to the first that does not count. */
  async #countInParts<Page>(
    pages: readonly Page[],
    ask: (part: readonly Page[], ids: { request: number; stage: number }) => void,
  ): Promise<number> {
    let counted = 0;
    while (counted < pages.length) {
      const part = pages.slice(counted, counted + mostPages);
      const request = this.worker.newRequest();
      const answer = this.#next('pageCount', request);
      ask(part, { request, stage: this.#number });
      // A disk may take its time.
      const { count } = await this.worker.whileAlive(answer);
      counted += Math.min(count, part.length);
      if (count < part.length) break;
    }
    return counted;
  }

  /** The next message of a kind about this stage, or the answer to a question. */
  #next<Kind extends StageMessage['kind']>(kind: Kind, request?: number): Promise<Messages[Kind]> {
    const key = request === undefined ? kind : `${kind} ${request}`;
    return new Promise((resolve) => this.#waiting.set(key, resolve));
  }

  #answer(key: string, body: unknown): void {
    this.#waiting.get(key)?.(body as never);
    this.#waiting.delete(key);
  }

  /** Does what the stage may answer with a failure. @throws CoordinatorError 'worker-refused' */
  async #untilFailed<Result>(act: () => Promise<Result>): Promise<Result> {
    const failed = new Promise<never>((_, reject) => (this.#fail = reject));
    failed.catch(() => undefined);
    return Promise.race([act(), failed]);
  }

  /** @throws CoordinatorError 'worker-lost' when the worker does not answer */
  async #inTime<Result>(answer: Promise<Result>): Promise<Result> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const error = new CoordinatorError(
        'worker-lost',
        `lost worker ${this.name}: it does not answer`,
      );
      timer = setTimeout(() => reject(error), answerMs);
    });
    try {
      return await this.worker.whileAlive(Promise.race([answer, late]));
    } finally {
      clearTimeout(timer);
    }
  }
}

function partOf(epoch: number, pages: readonly KeyedPage[]) {
  return {
    epoch,
    keys: joinKeys(pages.map(({ key }) => key)),
    pages: pages.map(({ page }) => page),
  };
}
