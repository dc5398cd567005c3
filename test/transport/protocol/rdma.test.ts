import { execFile, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { reportedIn, type CaseResult } from '../../rdma/guest/run-cases.js';
import { cases } from '../../rdma/loopback/cases.js';
import { repositoryPath } from '../../support/golden.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'daisychain-verbs-'));
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

/** Compiles the verbs library of test/rdma/loopback. */
function canCompile(): boolean {
  if (process.platform !== 'linux') return false;
  const source = repositoryPath('test/rdma/loopback/verbs.c');
  const library = path.join(folder, 'libibverbs.so.1');
  try {
    execFileSync('cc', ['-shared', '-fPIC', '-o', library, source], { stdio: 'pipe' });
    return true;
  } catch {
    console.warn('no C compiler: RDMA is not tested without devices');
    return false;
  }
}

/** In a process of its own, which finds that library in the place of the system's. */
async function runCases(): Promise<Map<string, CaseResult>> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [repositoryPath('dist/test/rdma/loopback/main.js')],
    {
      env: {
        ...process.env,
        LD_LIBRARY_PATH: folder,
        NEAR_ADDRESS: '127.0.0.1',
        FAR_ADDRESS: '127.0.0.2',
      },
    },
  );
  const results = stdout.split('\n').flatMap((line) => reportedIn(line) ?? []);
  return new Map(results.map((result) => [result.name, result]));
}

describe.skipIf(!canCompile())('with devices that are not real', () => {
  let results: Map<string, CaseResult>;
  beforeAll(async () => {
    results = await runCases();
  }, 300_000);

  test.each(Object.keys(cases))('%s', (name) => {
    expect(results.get(name), results.get(name)?.detail).toMatchObject({ ok: true });
  });
});
