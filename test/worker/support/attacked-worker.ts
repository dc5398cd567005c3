import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'vitest';
import { passingSecret } from '../../../app/cluster-secret.js';
import { SpawnedWorkers } from '../../../app/spawn.js';
import type { TensorSource } from '../../../model/tensor-source.js';
import type { Shard } from '../../../step/shard.js';
import type { Message, Messages } from '../../../transport/messages/messages.js';
import type { Role } from '../../../transport/protocol/handshake.js';
import { describedShardMessage, sessionId, tensorData } from './coordinator.js';
import { RawPeer } from './raw-peer.js';

const { secret, text } = passingSecret();

/** A worker in a process of its own, and how it has answered what makes no sense. */
export class AttackedWorker implements AsyncDisposable {
  /** Answers of each kind. */
  readonly outcomes = { answered: 0, refused: 0, closed: 0 };

  private constructor(
    private readonly port: number,
    private readonly workers: SpawnedWorkers,
    private readonly folder: string,
  ) {}

  static async start(): Promise<AttackedWorker> {
    const folder = await mkdtemp(path.join(os.tmpdir(), 'daisychain-'));
    const settings = { threads: 1, logLevel: 'silent', cacheDir: folder, engine: 'ggml' } as const;
    const workers = await SpawnedWorkers.start(1, settings, [], text);
    return new AttackedWorker(workers.addresses[0]?.port ?? 0, workers, folder);
  }

  connect(): Promise<RawPeer> {
    return RawPeer.connect(this.port, secret);
  }

  /** A connection that the worker has welcomed. */
  async welcomed(role: Role, hello: Partial<Messages['hello']> = {}): Promise<RawPeer> {
    const peer = await this.connect();
    const answer = await peer.greet({ role, session: sessionId, ...hello });
    expect(answer?.kind, JSON.stringify(answer?.body)).toBe('welcome');
    return peer;
  }

  /** What the worker says of itself. */
  async welcome(): Promise<Messages['welcome']> {
    const peer = await this.connect();
    const answer = await peer.greet({ role: 'info' });
    await peer.close();
    expect(answer?.kind).toBe('welcome');
    return answer?.body as Messages['welcome'];
  }

  /** Waits until it can take another coordinator. */
  async untilFree(): Promise<void> {
    while ((await this.welcome()).busy) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  /** Connects as a coordinator, and has shards loaded as stages 1, 2 … of a route's epoch 1. */
  async load(source: TensorSource, ...shards: readonly Shard[]): Promise<RawPeer> {
    await this.untilFree();
    const control = await this.welcomed('control');
    for (const [i, shard] of shards.entries()) {
      const stage = i + 1;
      control.say('loadShard', await describedShardMessage(source, shard, stage));
      const answer = await control.next('ready', 'missing', 'failed');
      if (answer?.kind === 'missing') {
        const weights = await this.welcomed('weights', { stage });
        for (const name of answer.body.names)
          weights.say('tensorData', { name, offset: 0 }, await tensorData(source, name));
        expect((await control.next('ready', 'failed'))?.kind).toBe('ready');
        await weights.close();
      } else expect(answer?.kind).toBe('ready');
      control.say('link', { stage, epoch: 1 });
      expect((await control.next('linked', 'failed'))?.kind).toBe('linked');
    }
    return control;
  }

  /** Counts an answer to what makes no sense, and checks that what it says is one line for a person to read. */
  judge(what: string, said: readonly Message[], isClosed: boolean): void {
    const texts = said.flatMap(({ kind, body }) => {
      if (kind === 'goodbye') return [body.reason];
      return kind === 'failed' || kind === 'stepFailed' || kind === 'refuse' ? [body.message] : [];
    });
    for (const line of texts) expect(line, what).toMatch(/^\P{Cc}{1,1100}$/u);
    const outcome = isClosed ? 'closed' : texts.length > 0 ? 'refused' : 'answered';
    this.outcomes[outcome]++;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.workers.end();
    await rm(this.folder, { recursive: true });
  }
}
