import { InvalidArgumentError } from 'commander';
import { draftChoice } from '../app/drafts.js';
import { UsageError } from '../app/errors.js';
import { loadTokenizer } from '../app/model.js';
import type { Prepared } from '../app/prepare.js';
import { poissonArrivals } from '../bench/arrivals.js';
import type { BenchmarkOptions } from '../bench/benchmark.js';
import { conversationTexts } from '../bench/conversation-texts.js';
import { promptTokens } from '../model/prompt-tokens.js';
import { formatPrompt } from './prompt.js';

/** Flags that say what conversations begin with, and when. */
export interface TextFlags {
  readonly prompt?: string;
  readonly prefill: number;
  readonly conversations: number;
  readonly sharedPrefix?: number;
  /** How many arrive per second. */
  readonly arrive?: number;
}

/** What conversations read, when they arrive, and what ends an answer. */
export interface BenchTexts extends Pick<BenchmarkOptions, 'texts' | 'arrivals' | 'isEnd'> {
  /** Tokens of each text, and those of them that all have in common. */
  readonly length: number;
  readonly shared: number;
}

/** Reads a number of arrivals per second. @throws InvalidArgumentError */
export function arrivalRate(value: string): number {
  const rate = Number(/^poisson:(.+)$/.exec(value)?.[1]);
  if (!(rate > 0 && rate < Infinity))
    throw new InvalidArgumentError(
      'expected poisson: and how many arrive per second, as in poisson:2',
    );
  return rate;
}

/** The texts that the flags ask for. @throws UsageError, ModelError */
export function benchTexts(flags: TextFlags, prepared: Prepared): BenchTexts {
  const { conversations, arrive } = flags;
  const { seed = 1 } = prepared.settings;
  const arrivals = arrive === undefined ? undefined : poissonArrivals(conversations, arrive, seed);
  const texts =
    flags.prompt === undefined
      ? randomTexts(flags, prepared)
      : promptTexts(flags.prompt, flags, prepared);
  return { ...texts, arrivals };
}

/** Random tokens of a model that nobody can talk to have no end. */
function randomTexts(
  { prefill, conversations, sharedPrefix, arrive }: TextFlags,
  { settings, sizes }: Prepared,
): BenchTexts {
  // Simulated drafts replay one text.
  const isOneText = draftChoice(settings)?.kind === 'oracle';
  if (isOneText && sharedPrefix !== undefined)
    throw new UsageError(
      'combination',
      '--draft oracle replays one text: leave out --shared-prefix',
    );
  const shared = sharedPrefix ?? (isOneText ? prefill : 0);
  if (shared > prefill)
    throw new UsageError(
      'combination',
      `--shared-prefix ${shared} is longer than the prompts: give --prefill ${shared} or more`,
    );
  // Nobody finds anything of what was measured before.
  const isEverNew = arrive !== undefined || sharedPrefix !== undefined;
  const of = { conversations, tokens: prefill, shared, vocabulary: sizes.vocabulary };
  return {
    length: prefill,
    shared,
    texts: (measurement) => conversationTexts(of, isEverNew ? measurement : 0),
    isEnd: () => false,
  };
}

function promptTexts(
  prompt: string,
  { conversations, sharedPrefix }: TextFlags,
  { settings, source }: Prepared,
): BenchTexts {
  if (sharedPrefix !== undefined)
    throw new UsageError(
      'combination',
      '--shared-prefix is for random prompts: leave out --prompt',
    );
  using tokenizer = loadTokenizer(settings);
  const { text } = formatPrompt({ messages: [{ role: 'user', content: prompt }] }, source);
  const tokens = promptTokens(text, tokenizer);
  const ends = new Set<number>();
  for (let token = 0; token < tokenizer.size; token++)
    if (tokenizer.isEndOfGeneration(token)) ends.add(token);
  const texts = new Array<Int32Array>(conversations).fill(tokens);
  return {
    length: tokens.length,
    shared: tokens.length,
    texts: () => texts,
    isEnd: (token) => ends.has(token),
  };
}
