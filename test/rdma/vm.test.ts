import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { beforeAll, describe, expect, test } from 'vitest';
import { repositoryPath } from '../support/golden.js';
import { cases } from './guest/cases.js';
import { reportedIn, type CaseResult } from './guest/run-cases.js';

/** An unpacked Debian kernel package; `.ci/run` fetches one. */
const kernel = process.env.DAISYCHAIN_VM_KERNEL ?? path.join(os.tmpdir(), 'daisychain-vm-kernel');
const programs = ['qemu-system-x86_64', 'busybox', 'cpio', 'depmod', 'rdma', 'tc', 'setpriv'];

/** Users' paths may lack what root uses. */
const environment = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };

/** What is missing for the machine. */
function missing(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'Linux on x64';
  if (!fs.existsSync(path.join(kernel, 'boot'))) return `a kernel in ${kernel}`;
  return programs.find((program) => !isInstalled(program));
}

function isInstalled(program: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${program}`], {
      stdio: 'pipe',
      env: environment,
    });
    return true;
  } catch {
    return false;
  }
}

/** Boots the machine, and collects what its cases report. */
async function runMachine(): Promise<{ results: Map<string, CaseResult>; console: string }> {
  const work = fs.mkdtempSync(path.join(os.tmpdir(), 'daisychain-vm-'));
  fs.symlinkSync(kernel, path.join(work, 'kernel'));
  const folder = repositoryPath('');
  const command = `cd ${folder} && . test/rdma/devices.sh && ${process.execPath} dist/test/rdma/guest/main.js 2>&1`;
  const machine = spawn('bash', [repositoryPath('test/rdma/vm.sh'), work, command], {
    env: environment,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const results = new Map<string, CaseResult>();
  let said = '';
  machine.stderr.on('data', (data: Buffer) => (said += data.toString()));
  for await (const line of createInterface({ input: machine.stdout })) {
    said = `${said}${line}\n`.slice(-10_000);
    const result = reportedIn(line);
    if (result) results.set(result.name, result);
  }
  fs.rmSync(work, { recursive: true, force: true });
  return { results, console: said };
}

const lacking = missing();
if (lacking !== undefined)
  console.warn(`RDMA is not tested: its machine needs ${lacking}; see test/rdma/vm.sh`);

describe.skipIf(lacking !== undefined)('in a machine with RDMA devices', () => {
  let machine: Awaited<ReturnType<typeof runMachine>>;
  beforeAll(async () => {
    machine = await runMachine();
  }, 900_000);

  test.each(Object.keys(cases))('%s', (name) => {
    const result = machine.results.get(name);
    expect(result, `${name} did not report: ${machine.console}`).toBeDefined();
    expect(result?.ok, result?.detail).toBe(true);
  });
});
