import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parseCoreList } from '../../app/pin.js';
import { SpawnedWorkers, spawnCount } from '../../app/spawn.js';
import { workerArguments } from '../../app/worker-command.js';
import { RunningCommand, childrenOf, untilGone } from '../support/cli.js';
import { repositoryPath } from '../support/golden.js';

const model = repositoryPath('models/demo.gguf');
const onLinux = process.platform === 'linux';

test('a split says how many workers to start', () => {
  expect(spawnCount({ layers: [5, 6, 5] })).toBe(2);
  expect(spawnCount({})).toBe(1);
  expect(() => spawnCount({ layers: [16] })).toThrow('--layers has one count');
});

test('workers get the settings that concern them', () => {
  const settings = { model: '/m.gguf', layers: [13, 3], threads: 2, spawn: true, cacheLimit: 9e9 };
  expect(workerArguments(settings as never, 3).join(' ')).toBe(
    'worker --announce --host 127.0.0.1 --port 0 --threads 2 --cache-limit 9000000000 --model /m.gguf --core 3 --log-level warn',
  );
});

test('core lists as Linux writes them', () => {
  expect(parseCoreList('0-2,5,8-9\n')).toEqual([0, 1, 2, 5, 8, 9]);
  expect(parseCoreList('')).toEqual([]);
});

describe('spawned workers', () => {
  test('listen, and end when they are told to', async () => {
    const workers = await SpawnedWorkers.start(2, { model }, []);
    const ports = workers.addresses.map(({ port }) => port);
    expect(new Set(ports).size).toBe(2);
    const pids = onLinux ? childrenOf(process.pid) : [];
    await workers.end();
    await Promise.all(pids.map(untilGone));
  });

  test('that cannot start say why in one line', async () => {
    const settings = { model: '/nowhere/model.gguf' };
    await expect(SpawnedWorkers.start(2, settings, [])).rejects.toThrow(
      /^could not start worker \d: no such model file: \/nowhere\/model.gguf$/,
    );
  });

  test.runIf(onLinux)('end with their coordinator, however it ends', async () => {
    await using chat = new RunningCommand(['chat', '--config', 'configs/local-demo.yaml']);
    await chat.until(() => chat.stdout.includes('context'));
    const [worker = 0] = childrenOf(chat.child.pid ?? 0);
    expect(worker).toBeGreaterThan(0);
    chat.child.kill('SIGKILL');
    await untilGone(worker);
  });

  test.runIf(onLinux)('and their coordinator are bound to a core each', async () => {
    const args = ['chat', '--config', 'configs/local-demo.yaml', '--pin'];
    await using chat = new RunningCommand(args);
    await chat.until(() => chat.stdout.includes('context'));
    const pids = [chat.child.pid ?? 0, ...childrenOf(chat.child.pid ?? 0)];
    const allowed = pids.map((pid) =>
      parseCoreList(
        /^Cpus_allowed_list:\s*(.+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '',
      ),
    );
    expect(allowed.map((cores) => cores.length)).toEqual([1, 1]);
  });
});
