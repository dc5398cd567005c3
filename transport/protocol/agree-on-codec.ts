import type { CodecChoice, CodecName } from '../wire/codecs/codec.js';
import { codecNamed } from '../wire/codecs/codecs.js';
import { TransportError } from '../wire/errors.js';
import type { TensorChannel } from '../wire/tensor-channel.js';
import { chooseCodec, type ExpectedStep } from './choose-codec.js';
import { handshakeMs } from './handshake.js';
import { measureLink, nextOf, type LinkFigures } from './link-figures.js';

/** How hidden states travel on a link, and what it was chosen by. */
export interface AgreedCodec {
  readonly codec: CodecName;
  /** Absent where the codec was given. */
  readonly figures?: LinkFigures;
}

/** What is asked for on a link. */
export interface WantedCodec {
  readonly codec: CodecChoice;
  /** What steps are expected to take; where it is not known, only what nobody notices is free. */
  readonly expected?: ExpectedStep;
  /** Whether both ends are on one machine, where exact values are always free: what is measured tells of its load. */
  readonly isLocal?: boolean;
}

const nothingExpected: ExpectedStep = { decodeMs: 0, promptRowMs: 0 };

/**
 * The side that sends tensors: measures the link where the codec is to be chosen by that, and tells the other.
 * @param hiddenSize values of a row of hidden states
 * @throws TransportError when the other side does not answer as it should, or is gone
 */
export async function offerCodec(
  channel: TensorChannel,
  { codec: choice, expected = nothingExpected, isLocal = false }: WantedCodec,
  hiddenSize: number,
): Promise<AgreedCodec> {
  if (choice !== 'auto') return { codec: choice };
  const figures = isLocal ? undefined : await measureLink(channel);
  const codec = figures ? chooseCodec(figures, expected, hiddenSize) : 'f32';
  await channel.send('linkCodec', { codec });
  return { codec, ...(figures ? { figures } : {}) };
}

/**
 * The side that receives tensors: answers probes until the other has chosen.
 * @param choice as the other side's greeting has it
 * @throws TransportError when it says something else, or is gone
 */
export async function acceptCodec(channel: TensorChannel, choice: CodecChoice): Promise<CodecName> {
  if (choice !== 'auto') return choice;
  for (;;) {
    // The other side may have to find out first that frames do not come back.
    const message = await nextOf(channel, 2 * handshakeMs);
    if (message.kind === 'linkCodec') return codecNamed(message.body.codec).name;
    if (message.kind !== 'linkProbe') throw new TransportError('garbage', `a ${message.kind} here`);
    await channel.send('linkProbed', {});
  }
}
