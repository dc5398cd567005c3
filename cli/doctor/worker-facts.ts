import os from 'node:os';
import { version } from '../../app/package.js';
import type { WorkerAddress } from '../../coord/remote-worker.js';
import { inquire, type Inquiry } from '../../transport/protocol/peers.js';
import { TransportError } from '../../transport/wire/errors.js';
import type { ClusterSecret } from '../../transport/wire/security.js';
import { formatAddress } from '../../transport/wire/tcp.js';

/** Questions, of which the one that is answered the quickest says how far the worker is. */
const questions = 5;

/** Whether a worker can be reached, and what it says about itself. */
export type WorkerFacts = { readonly address: string } & (
  | {
      readonly reachable: true;
      readonly name: string;
      readonly machineId: string;
      readonly version: string;
      readonly engine: string;
      readonly device: string;
      readonly threads: number;
      /** Of the device's memory, now. */
      readonly freeBytes: number;
      /** Whether it works for a coordinator. */
      readonly busy: boolean;
      /** Fingerprint of the model that it holds; empty when it holds none. */
      readonly model: string;
      /** Round-trip time of a message, the shortest of some. */
      readonly rttMs: number;
    }
  | { readonly reachable: false; readonly problem: string }
);

/** Asks a worker about itself. It may be busy: that takes nothing from its coordinator. */
export async function workerFacts(
  worker: WorkerAddress,
  secret: ClusterSecret | undefined,
): Promise<WorkerFacts> {
  const address = formatAddress(worker.host, worker.port);
  try {
    const answers: Inquiry[] = [];
    const hello = { softwareVersion: version, name: `doctor on ${os.hostname()}` };
    for (let i = 0; i < questions; i++) answers.push(await inquire({ ...worker, hello, secret }));
    const { welcome } = answers[0] as Inquiry;
    return {
      address,
      reachable: true,
      name: welcome.name,
      machineId: welcome.machineId,
      version: welcome.softwareVersion,
      engine: welcome.engine,
      device: welcome.device,
      threads: welcome.threads,
      freeBytes: welcome.freeBytes,
      busy: welcome.busy,
      model: welcome.modelFingerprint,
      rttMs: Math.min(...answers.map(({ roundTripMs }) => roundTripMs)),
    };
  } catch (error) {
    if (!(error instanceof TransportError)) throw error;
    return { address, reachable: false, problem: error.message };
  }
}
