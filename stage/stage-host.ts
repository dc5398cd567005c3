import type { Logger } from 'pino';
import { EngineError, type Engine, type Stage, type StageOptions } from '../engine/engine.js';
import type { SegmentResult, Step } from '../step/step.js';
import type { StageReport } from '../transport/messages/messages.js';
import { acceptCodec, type AgreedCodec } from '../transport/protocol/agree-on-codec.js';
import { acceptChannel } from '../transport/protocol/open-channel.js';
import { stageReport } from '../transport/protocol/stage-report.js';
import { TensorReceiver } from '../transport/protocol/tensor-link.js';
import { Tracer } from '../transport/protocol/tracer.js';
import type { CodecChoice } from '../transport/wire/codecs/codec.js';
import { codecNamed } from '../transport/wire/codecs/codecs.js';
import type { Connection } from '../transport/wire/connection.js';
import { TransportError } from '../transport/wire/errors.js';
import { pageIdentity } from './page-files/page-identity.js';
import type { PageStore } from './page-files/page-store.js';
import { StagePageFiles } from './page-files/stage-page-files.js';
import { OutgoingLink, type LinkOptions, type NextStage } from './outgoing-link.js';
import { StageRunner } from './stage-runner.js';
import { StepWatch } from './step-watch.js';
import type { Turns } from './turns.js';
import type { SegmentId } from './wanted-segments.js';

export interface StageHostOptions extends LinkOptions {
  readonly maxStepRows: number;
  /** Of the device that stages are loaded on. */
  readonly turns: Turns;
  /** Where keys and values of pages are kept; without it they are not. */
  readonly pageStore?: PageStore | undefined;
  readonly logger: Logger;
}

/** What becomes of the steps that a stage gets. */
export interface StageEvents {
  /** The stage has the head, and this is what the step's segments wanted. */
  onResult(step: Step, results: readonly SegmentResult[]): void;
  /** The stage could not compute a step, or had nobody to send it to. */
  onStepFailed(step: Step, error: Error): void;
  /** The link to the next stage ended on its own. */
  onLinkLost(error: TransportError): void;
}

const noRows = new Float32Array(0);

/**
 * One stage, wherever it runs: loads a shard, computes steps, and sends them on to the next stage. Without a shard it
 * passes steps on as they are.
 */
export class StageHost implements AsyncDisposable {
  readonly tracer = new Tracer();
  readonly #closing = new AbortController();
  readonly #watch: StepWatch;
  #closed: Promise<void> | undefined;
  #loading: Promise<Stage> | undefined;
  #stage: Stage | undefined;
  #runner: StageRunner | undefined;
  #pageFiles: StagePageFiles | undefined;
  #epoch = 0;
  /** Counts calls of `link`: the last one is what counts. */
  #links = 0;
  #next: OutgoingLink | undefined;
  #previous: Connection | undefined;
  #receiver: TensorReceiver | undefined;

  constructor(
    private readonly options: StageHostOptions,
    private readonly events: StageEvents,
  ) {
    this.#watch = new StepWatch(options.turns);
  }

  get stage(): Stage | undefined {
    return this.#stage;
  }

  /** Its pages, where they can be kept in files. */
  get pageFiles(): StagePageFiles | undefined {
    return this.#pageFiles;
  }

  /** Loads a shard that is not empty, once. @throws ModelError, EngineError; EngineError 'internal' when it is closed */
  async load(engine: Engine, options: StageOptions): Promise<Stage> {
    this.#throwIfClosed();
    if (this.#loading) throw new EngineError('internal', 'a stage is loaded here already');
    const signals = [this.#closing.signal, ...(options.signal ? [options.signal] : [])];
    this.#loading = engine.load({ ...options, signal: AbortSignal.any(signals) });
    const stage = await this.#loading;
    // An engine may have been too far to give up; `close` frees the stage then.
    this.#throwIfClosed();
    this.#pageFiles = this.#pageFilesOf(stage, engine, options);
    this.#start(stage);
    return stage;
  }

  /**
   * Makes the stage a part of the route of this epoch: steps of older ones are dropped. The link that was there ends.
   * @param next the next stage; without one this is the last
   * @returns how hidden states travel to it
   * @throws TransportError when the next stage cannot be reached, or the stage was linked anew or closed meanwhile
   */
  async link(epoch: number, next?: NextStage): Promise<AgreedCodec | undefined> {
    this.#throwIfClosed();
    const count = ++this.#links;
    this.#next?.close('the stage is linked anew');
    this.#next = undefined;
    this.#epoch = epoch;
    this.#runner?.beginEpoch(epoch);
    if (!next) return undefined;
    const onLost = (error: TransportError) => this.events.onLinkLost(error);
    const link = await OutgoingLink.open(next, this.options, this.tracer, onLost);
    if (count !== this.#links) {
      link.close('not needed any more');
      throw new TransportError('closed', `${this.options.name} was linked anew, or closed`);
    }
    this.#next = link;
    return link.agreed;
  }

  /**
   * Takes the connection that the previous stage's steps come over, instead of the one before. It needs a stage.
   * @throws TransportError when the previous stage and this one cannot agree on how to send; the connection is closed then
   */
  async attach(connection: Connection, choice: CodecChoice): Promise<void> {
    const runner = this.#runner;
    if (this.#closed || !runner) throw new EngineError('internal', 'no stage is loaded here');
    this.#previous?.close('replaced by another connection');
    this.#previous = connection;
    void connection.closed.then(({ message }) => this.options.logger.debug(message));
    try {
      const channel = await acceptChannel(connection, this.options.channel);
      const codec = await acceptCodec(channel, choice);
      if (this.#previous !== connection) throw new TransportError('closed', 'replaced, or closed');
      this.#receiver = new TensorReceiver(
        channel,
        codecNamed(codec),
        this.options.hiddenSize,
        (step, hidden, release) => runner.enqueue(step, hidden, release),
        this.tracer,
      );
    } catch (error) {
      connection.close((error as Error).message);
      throw error;
    }
  }

  /**
   * Computes a step, or passes it on. For the first stage: others get their steps from the previous one.
   * @returns a promise when it may have to wait
   * @throws TransportError when there is neither a stage nor a link
   */
  submit(step: Step): Promise<void> | void {
    this.#throwIfClosed();
    return this.#runner ? this.#runner.enqueue(step, noRows) : this.#pass(step);
  }

  /** Drops segments that are not done, or have not even arrived: they give no result. */
  cancel(segments: readonly SegmentId[]): void {
    this.#runner?.cancel(segments);
  }

  /** Where the time went since the last reset, and what crossed the links. */
  get report(): StageReport {
    return stageReport(this.#runner?.stats, this.#next?.sender, this.#receiver);
  }

  resetReport(): void {
    this.#runner?.resetStats();
    this.#next?.sender.resetStats();
    this.#receiver?.resetStats();
  }

  /** Resolves when all memory is free. A stage that is being loaded is given up. */
  close(reason = 'the stage is not needed any more'): Promise<void> {
    return (this.#closed ??= this.#close(reason));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #start(stage: Stage): void {
    this.#stage = stage;
    this.#runner = new StageRunner(
      stage,
      {
        forward: (step, hidden) => this.#send(step, hidden),
        finish: (step, results) => this.events.onResult(step, results),
        fail: (step, error) => this.events.onStepFailed(step, error),
      },
      {
        ...this.options,
        tracer: this.tracer,
        keepPages: async (pages) => this.#pageFiles?.keep(pages),
      },
    );
    this.#runner.beginEpoch(this.#epoch);
  }

  #pageFilesOf(stage: Stage, engine: Engine, options: StageOptions): StagePageFiles | undefined {
    const { pageStore: store, turns } = this.options;
    if (!store || !stage.pages) return undefined;
    const identity = pageIdentity(engine, options, stage);
    return new StagePageFiles(stage.pages, {
      store,
      turns,
      identity: () => identity,
      epoch: () => this.#epoch,
    });
  }

  /** Without a shard. */
  #pass(step: Step): Promise<void> {
    this.#watch.end();
    const sent = this.#send(step, noRows);
    this.#watch.begin();
    return sent;
  }

  #send(step: Step, hidden: Float32Array): Promise<void> {
    if (!this.#next) throw new TransportError('closed', `${this.options.name} has no next stage`);
    return this.#next.send(step, hidden);
  }

  async #close(reason: string): Promise<void> {
    this.#closing.abort(closedError(reason));
    this.#links++;
    this.#next?.close(reason);
    this.#previous?.close(reason);
    this.#previous = undefined;
    const stage = await this.#loading?.catch(() => undefined);
    await this.#runner?.stop();
    await this.#pageFiles?.close();
    stage?.dispose();
    this.#stage = undefined;
  }

  #throwIfClosed(): void {
    if (this.#closed) throw closedError('the stage is closed');
  }
}

function closedError(why: string): EngineError {
  return new EngineError('internal', why);
}
