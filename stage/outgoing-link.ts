import os from 'node:os';
import type { Step } from '../step/step.js';
import { offerCodec, type AgreedCodec } from '../transport/protocol/agree-on-codec.js';
import type { ExpectedStep } from '../transport/protocol/choose-codec.js';
import {
  isLoopback,
  offerChannel,
  type ChannelOptions,
} from '../transport/protocol/open-channel.js';
import { dial } from '../transport/protocol/peers.js';
import { TensorSender } from '../transport/protocol/tensor-link.js';
import type { Tracer } from '../transport/protocol/tracer.js';
import type { CodecChoice } from '../transport/wire/codecs/codec.js';
import { codecNamed } from '../transport/wire/codecs/codecs.js';
import type { Connection } from '../transport/wire/connection.js';
import type { TransportError } from '../transport/wire/errors.js';
import type { ClusterSecret } from '../transport/wire/security.js';

/** Where the next stage is, and how it gets its steps. */
export interface NextStage {
  readonly host: string;
  readonly port: number;
  /** The number that it has in its worker's session. */
  readonly stage: number;
  readonly codec: CodecChoice;
  /** What an `auto` codec is chosen by beside the link. */
  readonly expected?: ExpectedStep;
  readonly transport?: ChannelOptions['transport'];
  readonly rdmaQueue?: NonNullable<ChannelOptions['rdmaQueue']>;
}

/** Who dials. */
export interface LinkOptions {
  /** How the next stage's worker calls this one in its log. */
  readonly name: string;
  readonly session: string;
  readonly softwareVersion: string;
  readonly secret?: ClusterSecret | undefined;
  /** What this process was started with; it goes before what the next stage's address says. */
  readonly channel: ChannelOptions;
  /** Values of a row of hidden states. */
  readonly hiddenSize: number;
}

/** The link to the next stage. */
export class OutgoingLink {
  #isClosed = false;

  private constructor(
    private readonly connection: Connection,
    readonly sender: TensorSender,
    readonly agreed: AgreedCodec,
    onLost: (error: TransportError) => void,
  ) {
    void connection.closed.then((reason) => {
      if (!this.#isClosed) onLost(reason);
    });
  }

  /**
   * Connects to the next stage and agrees with it on how to send.
   * @param onLost called when the link has ended on its own
   * @throws TransportError
   */
  static async open(
    next: NextStage,
    options: LinkOptions,
    tracer: Tracer,
    onLost: (error: TransportError) => void,
  ): Promise<OutgoingLink> {
    const { name, session, softwareVersion, secret, hiddenSize } = options;
    const { host, port, stage, codec: choice } = next;
    const { connection, welcome } = await dial({
      host,
      port,
      hello: { role: 'tensor', session, softwareVersion, name, stage, codec: choice },
      secret,
    });
    try {
      const mostRowBytes = codecNamed(choice === 'auto' ? 'f32' : choice).encodedBytes(
        1,
        hiddenSize,
      );
      // A tunnel to another machine begins on loopback, too.
      const isHere = welcome.name.startsWith(`${os.hostname()}, `);
      const isLocal = isHere && isLoopback(connection.localAddress);
      const how = channelFor(next, options.channel);
      const channel = await offerChannel(connection, mostRowBytes, how);
      const agreed = await offerCodec(channel, { ...next, isLocal }, hiddenSize);
      const sender = new TensorSender(channel, codecNamed(agreed.codec), hiddenSize, tracer);
      return new OutgoingLink(connection, sender, agreed, onLost);
    } catch (error) {
      connection.close('cannot agree on how to send');
      throw error;
    }
  }

  /** Resolves when the step is encoded, or the link has ended. @param hidden [rows, hiddenSize] f32, or empty */
  send(step: Step, hidden: Float32Array): Promise<void> {
    return this.sender.send(step, hidden);
  }

  /** Ends the link, which is no loss then. */
  close(reason: string): void {
    this.#isClosed = true;
    this.connection.close(reason);
  }
}

function channelFor({ transport, rdmaQueue }: NextStage, own: ChannelOptions): ChannelOptions {
  const queue = own.rdmaQueue ?? rdmaQueue;
  return {
    ...own,
    transport: own.transport === 'auto' ? (transport ?? 'auto') : own.transport,
    ...(queue ? { rdmaQueue: queue } : {}),
  };
}
