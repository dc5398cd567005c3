import type { Stage, StageOptions, StoredKvType } from '../engine/engine.js';
import { StageRunner, type StageStep } from '../engine/stage-runner.js';
import { architectureOf } from '../model/architectures/registry.js';
import { isEmpty } from '../model/shard.js';
import { codecNamed } from '../transport/codecs/codecs.js';
import type { Connection } from '../transport/connection.js';
import type { Messages } from '../transport/messages.js';
import { offerChannel } from '../transport/open-channel.js';
import { stageReport } from '../transport/stage-report.js';
import { dial } from '../transport/tcp.js';
import { TensorSender } from '../transport/tensor-link.js';
import { Tracer } from '../transport/tracer.js';
import { channelOf, codecOf, type CoordinatorOptions } from './coordinator-options.js';
import { CoordinatorError } from './errors.js';
import type { WorkerAddress } from './remote-worker.js';

/** What becomes of the steps of the coordinator's own stage. */
export interface OwnStageEvents {
  /** It is the last stage too, and has chosen. */
  onResult(id: number, tokens: Int32Array): void;
  onStepFailed(id: number, error: CoordinatorError): void;
  onComputed(tokens: number, ms: number): void;
  /** The link to the next stage is gone. */
  onLost(error: CoordinatorError): void;
}

/** The coordinator's end of the pipeline: the first stage, if the plan gives it layers, and the link to the next one. */
export class OwnStage {
  readonly tracer = new Tracer();
  #stage: Stage | undefined;
  #runner: StageRunner | undefined;
  #next: Connection | undefined;
  #sender: TensorSender | undefined;

  constructor(
    private readonly options: CoordinatorOptions,
    private readonly events: OwnStageEvents,
  ) {}

  /** What the stage keeps keys and values in, once it is loaded; undefined without one. */
  get kvType(): StoredKvType | undefined {
    return this.#stage?.kvType;
  }

  /** Loads the stage, unless its shard is empty. @throws ModelError, EngineError */
  async load(stageOptions: Omit<StageOptions, 'onProgress'>): Promise<void> {
    if (isEmpty(stageOptions.shard)) return;
    const { engine, chunkTokens, onProgress } = this.options;
    const stage = await engine.load({
      ...stageOptions,
      onProgress: (loadedBytes, totalBytes) =>
        onProgress?.({ stage: 'coordinator', loadedBytes, totalBytes }),
    });
    this.#stage = stage;
    this.#runner = new StageRunner(
      stage,
      {
        forward: (step, hidden) => this.#sender?.send(step, hidden),
        finish: ({ id }, tokens) => this.events.onResult(id, tokens),
        onComputed: ({ id, tokens }, ms) => {
          this.events.onComputed(tokens.length, ms);
          this.tracer.record('compute', id, performance.now() - ms);
        },
        fail: ({ id }, { message }) =>
          this.events.onStepFailed(id, new CoordinatorError('step', message)),
      },
      chunkTokens,
    );
  }

  /** Opens the link to the next stage. @throws TransportError */
  async connect(address: WorkerAddress, session: string): Promise<void> {
    const { softwareVersion, source, secret } = this.options;
    const { connection } = await dial({
      ...address,
      hello: { role: 'tensor', session, softwareVersion, name: 'coordinator' },
      ...(secret ? { secret } : {}),
    });
    this.#next = connection;
    void connection.closed.then(({ message }) =>
      this.events.onLost(new CoordinatorError('worker-lost', `lost ${message}`)),
    );
    const { hiddenSize } = architectureOf(source).hyperparameters(source);
    const codec = codecNamed(codecOf(this.options, 0));
    const rowBytes = codec.encodedBytes(1, hiddenSize);
    const channel = await offerChannel(connection, rowBytes, channelOf(this.options));
    this.#sender = new TensorSender(channel, codec, hiddenSize, this.tracer);
  }

  /** Computes a step, or passes it on. @returns a promise when it may have to wait */
  submit(step: StageStep): Promise<void> | void {
    const nothing = new Float32Array(0);
    return this.#runner ? this.#runner.enqueue(step, nothing) : this.#sender?.send(step, nothing);
  }

  cancel(ids: Iterable<number>): void {
    this.#runner?.cancel(ids);
  }

  get stats(): Messages['stats'] {
    return stageReport(this.#runner?.stats, this.#sender, undefined);
  }

  resetStats(): void {
    this.#runner?.resetStats();
    this.#sender?.resetStats();
  }

  /** Resolves when its memory is free. */
  async close(): Promise<void> {
    this.#next?.close('the coordinator is done');
    await this.#runner?.stop();
    this.#stage?.dispose();
    this.#stage = undefined;
  }
}
