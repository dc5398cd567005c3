import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { machineId } from '../../worker/machine-id.js';
import { tinyModel } from '../support/tiny-model.js';
import { connectAs, loadShardMessage } from './support/coordinator.js';
import { TestWorker, temporaryFolder } from './support/worker.js';

const model = tinyModel('f32');
const whole = { firstLayer: 0, endLayer: 3, embedding: true, head: true };

describe('a worker', () => {
  test('says what it is to whoever asks, also while it is busy, and is not taken by that', async () => {
    await using worker = await TestWorker.start({ model });
    worker.engine.freeBytes = 1234;
    const { name, machineId: id, ...welcome } = await worker.welcome();
    expect(name).toContain(`process ${process.pid}`);
    expect(id).toMatch(/^[0-9a-f]{32}$/);
    expect(welcome).toEqual({
      protocolVersion: 7,
      softwareVersion: 'test',
      engine: 'ggml',
      modelFingerprint: model.fingerprint,
      freeBytes: 1234,
      device: 'fake',
      threads: 1,
      busy: false,
    });
    const coordinator = await worker.connect();
    expect(coordinator.welcome.busy).toBe(false);
    worker.engine.freeBytes = 5678;
    expect(await worker.welcome()).toMatchObject({ busy: true, freeBytes: 5678, machineId: id });
    await coordinator.load(loadShardMessage(model, whole), model);
  });

  test('refuses a second coordinator, and connections of other sessions', async () => {
    await using worker = await TestWorker.start({ model });
    const strangers = { role: 'tensor', stage: 1, codec: 'f32' } as const;
    await expect(connectAs(worker.port, strangers)).rejects.toThrow(/does not take part/);
    const coordinator = await worker.connect();
    await coordinator.load(loadShardMessage(model, whole), model);
    await expect(connectAs(worker.port, {})).rejects.toThrow(/is busy with another coordinator/);
    const other = { session: 'another' };
    for (const role of ['tensor', 'weights'] as const)
      await expect(connectAs(worker.port, { ...strangers, ...other, role })).rejects.toThrow(
        /does not take part in that session/,
      );
    for (const codec of ['', '__proto__', 'f64'])
      await expect(connectAs(worker.port, { ...strangers, codec })).rejects.toThrow(
        /unknown codec/,
      );
    await connectAs(worker.port, strangers);
  });

  test('frees everything when it is closed, however often', async () => {
    await using worker = await TestWorker.start({ model });
    const coordinator = await worker.connect();
    await coordinator.load(loadShardMessage(model, whole), model);
    await Promise.all([worker.close(), worker.close()]);
    expect(worker.engine.living).toBe(0);
    expect((await coordinator.control.closed).message).toMatch(/the worker is shutting down/);
  });
});

describe('the id of a machine', () => {
  test('is the same for every process and start, and not what the system keeps for itself', async () => {
    await using folder = await temporaryFolder();
    await using other = await temporaryFolder();
    const id = await machineId(folder.path);
    expect(await machineId(folder.path)).toBe(id);
    const systems = '/etc/machine-id';
    if (!existsSync(systems)) return;
    expect(await machineId(other.path)).toBe(id);
    expect(id).not.toContain(readFileSync(systems, 'utf8').trim());
  });
});
