import type { ChannelChoices } from '../transport/open-channel.js';
import type { Settings } from './settings.js';

/** How tensors travel, as far as the settings say. */
export function channelFrom({ transport, rdmaDevice, rdmaQueue }: Settings): ChannelChoices {
  return {
    ...(transport ? { transport } : {}),
    ...(rdmaDevice === undefined ? {} : { rdmaDevice }),
    ...(rdmaQueue ? { rdmaQueue } : {}),
  };
}
