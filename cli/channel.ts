import type { ChannelOptions } from '../transport/open-channel.js';
import type { Settings } from './settings.js';

/** How tensors travel, as far as the settings say. */
export function channelFrom({
  transport,
  rdmaDevice,
  rdmaQueue,
}: Settings): Partial<Omit<ChannelOptions, 'logger'>> {
  return {
    ...(transport ? { transport } : {}),
    ...(rdmaDevice === undefined ? {} : { rdmaDevice }),
    ...(rdmaQueue ? { rdmaQueue } : {}),
  };
}
