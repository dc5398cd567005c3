import { randomInt } from 'node:crypto';
import type { Sampling } from '../engine/engine.js';
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
    topP: settings.topP ?? defaults.topP,
    minP: settings.minP ?? defaults.minP,
    repetitionPenalty: settings.repetitionPenalty ?? 1,
    seed: settings.seed ?? randomInt(0x1_0000_0000),
  };
}
