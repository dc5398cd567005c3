import { execFileSync } from 'node:child_process';
import os from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { registeredRegions } from '../../../transport/wire/rdma/ring.js';
import type { QueueKind } from '../../../transport/wire/rdma/queue-pair.js';
import { RunningCommand, runCommand } from '../../support/cli.js';
import { clearTokens, goldenCases, repositoryPath } from '../../support/golden.js';
import { linkCases, messagesOf, sendAll, type Cases } from './link-cases.js';
import { farAddress, nearAddress, openLink } from './links.js';

/** What is checked in the machine. */
export const cases: Cases = {
  ...linkCases,
  'a chat over rc gives the golden tokens': () => chat('rc'),
  'a chat over uc gives the golden tokens': () => chat('uc'),
  'frames that uc loses are noticed, and arrive over tcp': () => lossyExchanges('uc'),
  'an answer completes when uc loses frames': () => withLoss('20%', () => chat('uc', true)),
  'a cable that is pulled is noticed on rc': () => pulledCable('rc'),
  'a cable that is pulled is noticed on uc': () => pulledCable('uc'),
  'a worker that is killed is noticed': killedWorker,
  'an address that leads nowhere is refused or noticed': wrongAddress,
  'a device that may not be opened is said to be so': noPermission,
  'a device that is used up is said to be so': usedUpDevice,
  'a missing library is said to be so': missingLibrary,
  'no memory stays registered': noRegions,
  'an idle link costs next to nothing': idleLink,
  'doctor shows the devices': doctor,
};

/** @param fallsBack whether frames are lost on the way */
async function chat(queue: QueueKind, fallsBack = false): Promise<string> {
  const story = goldenCases('demo-q8_0.json').find(({ prompt }) => prompt.includes('a mouse.'));
  const golden = story && clearTokens(story);
  if (!story || !golden) throw new Error('no such golden case');
  await using worker = await startWorker();
  const args = [...runArguments(worker, queue), '--raw', '-p', story.prompt, '--json'];
  const { code, stdout, stderr } = await runCommand([...args, '--max-tokens', '60']);
  if (code !== 0) throw new Error(stderr);
  const { tokens } = JSON.parse(stdout) as { tokens: number[] };
  const same = tokens.filter((token, i) => token === golden[i]).length;
  if (same < Math.min(golden.length, 60)) throw new Error(`${same} tokens are right: ${stdout}`);
  const said = `${stderr}${worker.stderr}`;
  if (!said.includes(`tensors go by rdma (${queue}`)) throw new Error(`not by RDMA: ${said}`);
  if (said.includes('going on over TCP') !== fallsBack) throw new Error(said);
  return `${same} tokens`;
}

async function startWorker(): Promise<RunningCommand> {
  const args = ['worker', '--host', farAddress, '--port', '0', '--rdma-device', farAddress];
  const worker = new RunningCommand([...args, '-m', model, '--threads', '1', '--insecure']);
  await worker.until(() => worker.stderr.includes('listening on '));
  return worker;
}

const model = repositoryPath('models/demo.gguf');

function runArguments(worker: RunningCommand, queue: QueueKind): string[] {
  const port = /listening on 10\.9\.0\.2:(\d+)/.exec(worker.stderr)?.[1] ?? '';
  const parts = ['run', '-m', model, '--worker', `${farAddress}:${port}`, '--layers', '13,3'];
  const link = ['--transport', 'rdma', '--rdma-device', nearAddress, '--rdma-queue', queue];
  return [...parts, ...link, '--threads', '1', '--insecure', '--log-level', 'info'];
}

/** Many links on a cable that loses one packet of a hundred: each notices when it was hit, and loses nothing. */
function lossyExchanges(queue: QueueKind): Promise<string> {
  return withLoss('1%', async () => {
    let fellBack = 0;
    for (let seed = 1; seed <= 10; seed++) {
      await using link = await openLink(queue);
      await sendAll(link, messagesOf(200, seed));
      if (link.warnings.some((warning) => warning.includes('going on over TCP'))) fellBack++;
    }
    if (fellBack < 8) throw new Error(`only ${fellBack} of 10 links noticed a loss`);
    return `${fellBack} of 10 links were hit and fell back, all 2,000 messages arrived`;
  });
}

async function withLoss<Result>(share: string, action: () => Promise<Result>): Promise<Result> {
  shell(`tc qdisc add dev v0 root netem loss ${share}`);
  try {
    return await action();
  } finally {
    shell('tc qdisc del dev v0 root');
  }
}

/** The device goes away in the middle; the connection, which goes another way, stays. */
async function pulledCable(queue: QueueKind): Promise<string> {
  await using link = await openLink(queue);
  const messages = messagesOf(400, 7);
  const received = sendAll(link, messages);
  await sleep(100);
  const begin = performance.now();
  shell('ip link set v0 down');
  try {
    await received;
    while (link.warnings.length === 0) await sleep(10);
  } finally {
    shell('ip link set v0 up; ip route add 10.9.0.2 dev v0 src 10.9.0.1 table 101');
    shell('ip neigh replace 10.9.0.2 lladdr $(cat /sys/class/net/v1/address) dev v0 nud permanent');
  }
  const ms = performance.now() - begin;
  return `${ms.toFixed(0)} ms: ${link.warnings[0] ?? ''}`;
}

async function killedWorker(): Promise<string> {
  await using worker = await startWorker();
  await using run = new RunningCommand([
    ...runArguments(worker, 'rc'),
    ...['-p', 'Tell me a story about a fox.', '--temperature', '10', '--max-tokens', '1500'],
  ]);
  await run.until(() => run.stdout.length > 10);
  const begin = performance.now();
  worker.child.kill('SIGKILL');
  const { code, stderr } = await run.ended;
  const ms = performance.now() - begin;
  const lines = stderr.split('\n').filter((line) => line.startsWith('daisychain: '));
  if (code === 0 || lines.length !== 1 || !lines[0]?.includes(farAddress)) throw new Error(stderr);
  return `${ms.toFixed(0)} ms: ${lines[0]}`;
}

async function wrongAddress(): Promise<string> {
  await using worker = await startWorker();
  const args = runArguments(worker, 'rc').map((arg) => (arg === nearAddress ? '10.9.0.77' : arg));
  const { code, stderr } = await runCommand([...args, '-p', 'Hello']);
  const line = errorLine(code, stderr);
  if (!line.includes('10.9.0.77')) throw new Error(stderr);
  return line;
}

/** As a user who does not own the device. */
async function noPermission(): Promise<string> {
  await using worker = await startWorker();
  shell('chmod 600 /dev/infiniband/uverbs*');
  try {
    const user = ['setpriv', '--reuid', '65534', '--clear-groups'];
    return failingRun(user, worker, 'permission');
  } finally {
    shell('chmod 666 /dev/infiniband/uverbs*');
  }
}

/** As in a container that may have as many objects of the device as a link needs before its queue pair. */
async function usedUpDevice(): Promise<string> {
  await using worker = await startWorker();
  const groups = '/sys/fs/cgroup';
  shell(`mountpoint -q ${groups} || mount -t cgroup2 cgroup ${groups}`);
  shell(`echo +rdma >${groups}/cgroup.subtree_control; mkdir -p ${groups}/limited`);
  shell(`echo "rxe0 hca_object=3" >${groups}/limited/rdma.max`);
  const limited = `echo $$ >${groups}/limited/cgroup.procs; exec "$@"`;
  return failingRun(['bash', '-c', limited, '-'], worker, 'no more queue pairs');
}

/** With something else in the library's place. */
async function missingLibrary(): Promise<string> {
  await using worker = await startWorker();
  const library = shell("ldconfig -p | awk '/libibverbs.so.1/{print $NF; exit}'").trim();
  const hidden = `mount --bind /dev/null $(readlink -f ${library}); exec "$@"`;
  return failingRun(['unshare', '-m', 'bash', '-c', hidden, '-'], worker, 'not installed');
}

/** @param within the command that runs ours */
function failingRun(
  [program = '', ...within]: string[],
  worker: RunningCommand,
  expected: string,
): string {
  const command = [process.execPath, 'dist/cli/daisychain.js', ...runArguments(worker, 'rc')];
  try {
    execFileSync(program, [...within, ...command, '-p', 'Hello'], {
      cwd: repositoryPath(''),
      env: { ...process.env, XDG_CACHE_HOME: os.tmpdir(), XDG_STATE_HOME: os.tmpdir() },
      stdio: 'pipe',
      timeout: 60_000,
    });
  } catch (error) {
    const { status, stderr } = error as { status: number; stderr: Buffer };
    const line = errorLine(status, stderr.toString());
    if (line.includes(expected)) return line;
    throw new Error(stderr.toString(), { cause: error });
  }
  throw new Error('it did not fail');
}

function errorLine(code: number | null, stderr: string): string {
  const lines = stderr.split('\n').filter((line) => line.startsWith('daisychain: '));
  if (code === 0 || lines.length !== 1) throw new Error(`${code}: ${stderr}`);
  return lines[0] ?? '';
}

/** After all links of this process, and many more, the device holds nothing of ours. */
async function noRegions(): Promise<string> {
  for (let i = 0; i < 20; i++) {
    await using link = await openLink(i % 2 === 0 ? 'rc' : 'uc');
    await sendAll(link, messagesOf(5, i + 1));
  }
  await sleep(500);
  if (registeredRegions() !== 0) throw new Error(`${registeredRegions()} regions are left`);
  const held = shell(
    'rdma resource show mr; rdma resource show qp | grep -v "type GSI" || true',
  ).trim();
  if (held !== '') throw new Error(held);
  return 'none after 20 links';
}

async function idleLink(): Promise<string> {
  await using link = await openLink('rc');
  await sendAll(link, messagesOf(20, 3));
  await sleep(1000);
  const before = process.cpuUsage();
  await sleep(5000);
  const { user, system } = process.cpuUsage(before);
  return `${((user + system) / 50_000).toFixed(2)} % of an emulated core, for both ends`;
}

async function doctor(): Promise<string> {
  const { stdout } = await runCommand(['doctor', '--json']);
  const { rdma } = JSON.parse(stdout) as { rdma: { devices: unknown[] } };
  const found = JSON.stringify(rdma);
  if (!found.includes('rxe0') || !found.includes(nearAddress)) throw new Error(found);
  return found;
}

function shell(command: string): string {
  return execFileSync('bash', ['-c', command], { encoding: 'utf8' });
}
