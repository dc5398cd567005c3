import type { StagePageFiles } from '../stage/page-files/stage-page-files.js';
import { readBandwidth } from '../stage/read-bandwidth.js';
import { Turns } from '../stage/turns.js';
import { stageReport } from '../transport/protocol/stage-report.js';
import type { Message, Messages } from '../transport/messages/messages.js';
import type { Hello } from '../transport/protocol/handshake.js';
import { codecChoiceNamed } from '../transport/wire/codecs/codecs.js';
import type { Connection } from '../transport/wire/connection.js';
import { TransportError } from '../transport/wire/errors.js';
import { WorkerError } from './errors.js';
import { readKnownPages, readRestorePages } from './requests.js';
import { ServedStage, type ServedStageOptions } from './served-stage.js';

/** A stage, and the answer to the request to load it. */
interface Served {
  readonly stage: ServedStage;
  answered: Promise<void>;
}

export type SessionOptions = Omit<ServedStageOptions, 'session' | 'loads'>;

/** One coordinator's use of a worker: holds its stages, and frees everything when the coordinator is gone. */
export class Session {
  /** Resolves with the reason when the session is over and its memory is free; never rejects. */
  readonly ended: Promise<string>;
  readonly #stages = new Map<number, Served>();
  readonly #options: ServedStageOptions;

  constructor(
    private readonly control: Connection,
    id: string,
    options: SessionOptions,
  ) {
    this.#options = { ...options, session: id, loads: new Turns() };
    this.ended = control.closed.then(async ({ message }) => {
      await Promise.all([...this.#stages.values()].map(({ stage }) => this.#free(stage, message)));
      return message;
    });
    control.onMessage = (message) => this.#handle(message);
  }

  /** @throws TransportError 'refused' when the connection would be of no use now */
  check({ role, stage, codec }: Pick<Hello, 'role' | 'stage' | 'codec'>): void {
    const found = this.#find(stage);
    if (role === 'tensor') codecChoiceNamed(codec);
    if (role === 'tensor' ? !found?.isReady : !found?.wantsWeights)
      throw new TransportError(
        'refused',
        role === 'tensor'
          ? `has not loaded stage ${stage}`
          : `waits for no tensors of stage ${stage}`,
      );
  }

  /** Takes a connection that belongs to the session. */
  attach(connection: Connection, { role, stage, codec }: Hello): void {
    const found = this.#find(stage);
    if (!found) connection.close(`stage ${stage} is gone`);
    else if (role === 'weights') found.attachWeights(connection);
    else
      found.attachPrevious(connection, codec).catch((error: Error) => {
        this.#options.logger.warn(error.message);
        connection.close(error.message);
      });
  }

  /** Ends the session from this side. */
  async end(reason: string): Promise<void> {
    this.control.close(reason);
    await this.ended;
  }

  #handle({ kind, body }: Message): void {
    switch (kind) {
      case 'loadShard':
        this.#load(body);
        return;
      case 'link':
        void this.#answer(body.stage, 'link', () => this.#link(body));
        return;
      case 'unload':
        void this.#unload(body.stage);
        return;
      case 'cancel':
        this.#cancel(body);
        return;
      case 'statsRequest':
        this.#report(body);
        return;
      case 'bandwidthRequest':
        void this.#measureBandwidth(body);
        return;
      case 'traceRequest':
        this.#trace(body);
        return;
      case 'knownPages': {
        const { keys } = readKnownPages(body);
        void this.#countPages(body, (files) => files.known(keys));
        return;
      }
      case 'restorePages': {
        const { epoch, pages } = readRestorePages(body);
        void this.#countPages(body, (files) => files.restore(epoch, pages));
        return;
      }
      default:
        throw new WorkerError('message', `a ${kind} message here`);
    }
  }

  /** The coordinator hears what went wrong; whoever reads the log, too. */
  async #answer(stage: number, code: 'load' | 'link', work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const { message } = error as Error;
      this.#options.logger.error(message);
      this.control.send('failed', { stage, code, message });
    }
  }

  #load(body: Messages['loadShard']): void {
    const number = body.stage;
    if (this.#stages.has(number)) {
      const refused = new WorkerError('message', `has a stage ${number} already: unload it first`);
      void this.#answer(number, 'load', () => Promise.reject(refused));
      return;
    }
    const stage = new ServedStage(number, this.control, this.#options);
    const served: Served = { stage, answered: Promise.resolve() };
    this.#stages.set(number, served);
    served.answered = this.#answer(number, 'load', async () => {
      try {
        await stage.load(body);
      } catch (error) {
        await this.#free(stage, (error as Error).message);
        throw error;
      }
    });
  }

  async #link(body: Messages['link']): Promise<void> {
    const stage = this.#find(body.stage);
    if (!stage) throw new WorkerError('message', `has no stage ${body.stage}`);
    await stage.link(body);
  }

  /** After the answer nothing is heard of the stage any more. */
  async #unload(number: number): Promise<void> {
    const served = this.#stages.get(number);
    if (served) await this.#free(served.stage, 'the coordinator needs it no more');
    await served?.answered;
    this.control.send('unloaded', { stage: number });
  }

  /** Its number is free again when its memory is. */
  async #free(stage: ServedStage, reason: string): Promise<void> {
    try {
      await stage.close(reason);
    } catch (error) {
      this.#options.logger.error(error, `stage ${stage.number} ended with an error`);
    }
    if (this.#find(stage.number) === stage) this.#stages.delete(stage.number);
  }

  #cancel({ steps, sequences }: Messages['cancel']): void {
    if (steps.length !== sequences.length)
      throw new WorkerError('message', 'steps to cancel without sequences');
    const segments = steps.map((step, i) => ({ step, sequence: sequences[i] as number }));
    for (const { stage } of this.#stages.values()) stage.cancel(segments);
  }

  /** A stage that is gone has done nothing. */
  #report({ request, stage, reset }: Messages['statsRequest']): void {
    const found = this.#find(stage);
    const report = found?.report ?? stageReport(undefined, undefined, undefined);
    this.control.send('stats', { request, stage, report });
    if (reset) found?.resetReport();
  }

  async #measureBandwidth({ request, stage }: Messages['bandwidthRequest']): Promise<void> {
    const bytesPerSecond = await readBandwidth(this.#options.engine);
    this.control.send('bandwidth', { request, stage, bytesPerSecond });
  }

  #trace({ request, stage, start }: Messages['traceRequest']): void {
    this.control.send('trace', {
      request,
      stage,
      events: JSON.stringify(this.#find(stage)?.trace(start) ?? []),
      nowMs: performance.timeOrigin + performance.now(),
    });
  }

  /** A stage that is gone, or keeps no pages, has none. */
  async #countPages(
    { request, stage }: Pick<Messages['pageCount'], 'request' | 'stage'>,
    work: (files: StagePageFiles) => Promise<number>,
  ): Promise<void> {
    const files = this.#find(stage)?.pageFiles;
    const count = files ? await work(files).catch((error: Error) => this.#noPages(error)) : 0;
    this.control.send('pageCount', { request, stage, count });
  }

  #noPages({ message }: Error): number {
    this.#options.logger.error(message);
    return 0;
  }

  #find(number: number): ServedStage | undefined {
    return this.#stages.get(number)?.stage;
  }
}
