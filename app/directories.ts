import os from 'node:os';
import path from 'node:path';

/** Where things are kept that can be made again: received shards, hashes. */
export function cacheDirectory(): string {
  const home = os.homedir();
  if (process.platform === 'darwin') return path.join(home, 'Library', 'Caches', 'daisychain');
  if (process.platform === 'win32')
    return path.join(process.env.LOCALAPPDATA ?? home, 'daisychain', 'cache');
  return path.join(process.env.XDG_CACHE_HOME || path.join(home, '.cache'), 'daisychain');
}

/** Where things are kept that the user made: the history of the chat. */
export function stateDirectory(): string {
  const home = os.homedir();
  if (process.platform === 'darwin')
    return path.join(home, 'Library', 'Application Support', 'daisychain');
  if (process.platform === 'win32')
    return path.join(process.env.LOCALAPPDATA ?? home, 'daisychain', 'state');
  return path.join(process.env.XDG_STATE_HOME || path.join(home, '.local', 'state'), 'daisychain');
}
