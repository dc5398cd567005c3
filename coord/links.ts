import type { Logger } from 'pino';
import type { AgreedCodec } from '../transport/protocol/agree-on-codec.js';
import type { CodecChoice } from '../transport/wire/codecs/codec.js';
import type { StagePort } from './stage-port.js';

/** A link between two stages, by their names, and how hidden states travel on it. */
export interface NamedLink extends AgreedCodec {
  readonly from: string;
  readonly to: string;
}

interface KnownLink {
  readonly from: StagePort;
  readonly to: StagePort;
  readonly agreed: AgreedCodec;
}

/** The links of the route in use. A codec that was chosen stays while both ends of its link do. */
export class Links {
  #known: readonly KnownLink[] = [];

  constructor(private readonly logger: Logger) {}

  /** In pipeline order. */
  get links(): readonly NamedLink[] {
    return this.#known.map(({ from, to, agreed }) => ({ ...agreed, from: from.name, to: to.name }));
  }

  /** The codec to ask for. @param link counted from the first stage's own @param wanted what settings say */
  choiceFor(stages: readonly StagePort[], link: number, wanted: CodecChoice): CodecChoice {
    return this.#find(stages, link)?.agreed.codec ?? wanted;
  }

  /** The stages are linked: says how, where that is new. @param agreed one for each link */
  linked(stages: readonly StagePort[], agreed: readonly AgreedCodec[]): void {
    this.#known = agreed.map((each, link) => {
      const known = this.#find(stages, link);
      if (known) return known;
      const [from, to] = [stages[link] as StagePort, stages[link + 1] as StagePort];
      this.logger.info(describeLink({ ...each, from: from.name, to: to.name }));
      return { from, to, agreed: each };
    });
  }

  #find(stages: readonly StagePort[], link: number): KnownLink | undefined {
    return this.#known.find(({ from, to }) => from === stages[link] && to === stages[link + 1]);
  }
}

/** A line such as `coordinator to 10.0.0.2:7070: f16 (0.31 ms there and back, 112 MB/s)`. */
export function describeLink({ from, to, codec, figures }: NamedLink): string {
  const measured = figures
    ? ` (${figures.roundTripMs.toFixed(2)} ms there and back, ${(figures.bytesPerMs / 1000).toFixed(0)} MB/s)`
    : '';
  return `${from} to ${to}: ${codec}${measured}`;
}
