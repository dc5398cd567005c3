import { EngineError } from '../engine.js';
import { bindOnnxRuntime, elementType } from './runtime/api.js';
import { Graph } from './graph/graph.js';
import { providerNamed, type ProviderName } from './providers.js';
import { Session } from './runtime/session.js';

// A program of its own: tries the provider that its argument names, and prints what is in the way, if anything.
const graph = new Graph();
const input = graph.input('in', elementType.f32, [1]);
graph.nodeWithOutputs('Neg', [input], ['out']);
graph.output('out', elementType.f32, [1]);
try {
  const runtime = bindOnnxRuntime();
  const provider = providerNamed(process.argv[2] as ProviderName);
  await using session = await Session.open(
    { runtime, provider, threads: 1 },
    await graph.encode(),
    {
      folder: '',
    },
  );
  void session;
} catch (error) {
  if (!(error instanceof EngineError)) throw error;
  process.stdout.write(error.message);
}
