import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { EngineError } from '../engine.js';
import { bindOnnxRuntime } from './runtime/api.js';
import { providerNamed, providerNames, type ProviderName } from './providers.js';

/** Whether a provider can be used on this machine, and if not, why. */
export interface ProviderStatus {
  readonly name: ProviderName;
  readonly description: string;
  /** One line; undefined when nothing is in the way. */
  readonly problem?: string;
}

/** Drivers that are still looking for a device after this long will not find one. */
const probeMs = 30_000;

const probeProgram = fileURLToPath(new URL('probe-program.js', import.meta.url));

/** All providers. Takes a moment for those that this build has. */
export function probeProviders(): ProviderStatus[] {
  return providerNames.map((name) => {
    const { description } = providerNamed(name);
    const problem = providerProblem(name);
    return { name, description, ...(problem === undefined ? {} : { problem }) };
  });
}

/** @throws EngineError with the cause when a provider cannot be used here */
export function checkProvider(name: ProviderName): void {
  const problem = providerProblem(name);
  if (problem !== undefined)
    throw new EngineError('device', `--provider ${name}: ${problem}: use --provider cpu`);
}

/** Why a provider cannot be used here, in one line; undefined when it can. */
export function providerProblem(name: ProviderName): string | undefined {
  try {
    const { buildName, platforms } = providerNamed(name);
    if (!bindOnnxRuntime().providers().includes(buildName))
      return `ONNX Runtime for ${process.platform} ${process.arch} is built without it, only that for ${platforms} has it`;
    return name === 'cpu' ? undefined : runProbe(name);
  } catch (error) {
    if (error instanceof EngineError) return error.message;
    throw error;
  }
}

/**
 * Tries a provider in another process, as drivers write to stderr what they do not like about a machine, and may even
 * bring the process down.
 */
function runProbe(name: ProviderName): string | undefined {
  const { stdout, signal, status, error } = spawnSync(process.execPath, [probeProgram, name], {
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: probeMs,
    encoding: 'utf8',
    windowsHide: true,
  });
  const said = stdout.trim();
  if (status === 0) return said === '' ? undefined : said;
  return `trying it ended with ${signal ?? error?.message ?? `code ${status}`}`;
}
