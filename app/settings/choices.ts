import { randomInt } from 'node:crypto';
import type { Sampling } from '../../step/sampling.js';
import type { ChannelChoices } from '../../transport/protocol/open-channel.js';
import type { Settings } from './settings.js';

/** How tokens are chosen unless settings say otherwise: always the likeliest. */
export const greedyDefaults = { temperature: 0, topP: 1, minP: 0 };

/** How tokens are chosen in a chat unless settings say otherwise. */
export const chatDefaults = { temperature: 0.7, topP: 0.95, minP: 0.05 };

/** The sampling that the settings ask for; without a seed, a new one each time. */
export function samplingFrom(settings: Settings, defaults: typeof greedyDefaults): Sampling {
  return {
    temperature: settings.temperature ?? defaults.temperature,
    topK: settings.topK ?? 0,
    typicalP: settings.typicalP ?? 1,
    topP: settings.topP ?? defaults.topP,
    minP: settings.minP ?? defaults.minP,
    repetitionPenalty: settings.repetitionPenalty ?? 1,
    seed: settings.seed ?? randomInt(0x1_0000_0000),
  };
}

/** Whether the model is to think first; undefined leaves it to its template. */
export function reasoningFrom({ reasoning = 'auto' }: Settings): boolean | undefined {
  return reasoning === 'auto' ? undefined : reasoning === 'on';
}

/** How tensors travel, as far as the settings say. */
export function channelFrom({ transport, rdmaDevice, rdmaQueue }: Settings): ChannelChoices {
  return {
    ...(transport ? { transport } : {}),
    ...(rdmaDevice === undefined ? {} : { rdmaDevice }),
    ...(rdmaQueue ? { rdmaQueue } : {}),
  };
}
