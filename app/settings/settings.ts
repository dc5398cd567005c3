import type { z } from 'zod';
import { deviceKinds, engineNames, kvTypes } from '../../engine/engine.js';
import { providerNames } from '../../engine/onnx/providers.js';
import { syntheticTypes } from '../../model/synthetic/synthetic-model.js';
import { syntheticShapes } from '../../model/synthetic/shapes.js';
import { scheduleChoices } from '../../speculative/schedule.js';
import { transportChoices } from '../../transport/protocol/open-channel.js';
import { codecChoices } from '../../transport/wire/codecs/codecs.js';
import { queueKinds } from '../../transport/wire/rdma/queue-pair.js';
import * as kind from './kinds.js';

export const reasoningChoices = ['off', 'on', 'auto'] as const;
export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;

/** All settings. A config file names them as the long flags do, without the dashes. */
export const settings = {
  model: kind.path({ flag: '-m, --model <file>', help: 'model file (GGUF)' }),
  draft: kind.draft({
    flag: '--draft <what>',
    help: 'guess tokens ahead with a small model (its file), with ngram (what the text repeats), or both: ngram+FILE',
  }),
  speculate: kind.oneOf(
    {
      flag: '--speculate <mode>',
      help: 'how guesses are used: off, sync, pipelined, or auto, which measures and picks (default: auto with --draft)',
    },
    scheduleChoices,
  ),
  synthetic: kind.oneOf(
    { flag: '--synthetic <shape>', help: 'random weights of a shape instead of a model file' },
    Object.keys(syntheticShapes),
  ),
  syntheticLayers: kind.wholeNumber(
    {
      flag: '--synthetic-layers <count>',
      help: 'layers of the synthetic model (default: those that its shape has)',
    },
    1,
    1024,
  ),
  type: kind.oneOf(
    { flag: '--type <type>', help: 'type of synthetic weights (default: q4_0)' },
    syntheticTypes,
  ),
  layers: kind.layerCounts({
    flag: '--layers <counts>',
    help: "layers per stage, the coordinator's first, like 13,3 (default: by free memory)",
  }),
  spawn: kind.toggle({ flag: '--spawn', help: 'start the workers on this machine, and end them' }),
  workers: kind.addresses({
    flag: '--worker, --workers <address...>',
    help: 'workers that run already, HOST:PORT, in pipeline order',
  }),
  context: kind.wholeNumber(
    {
      flag: '--context <tokens>',
      help: "tokens that a conversation may have (default: the model's, as far as memory allows)",
    },
    16,
    16_777_216,
  ),
  kvType: kind.oneOf(
    {
      flag: '--kv-type <type>',
      help: 'how keys and values are kept (default: f16, for which --engine onnx keeps f32)',
    },
    kvTypes,
  ),
  codec: kind.someOf(
    {
      flag: '--codec <name>',
      help: 'how hidden states travel: f32 is exact, fp8 is a quarter of that; fp8,f32 sets every link (default: auto, the most exact that each link carries for free)',
    },
    codecChoices,
  ),
  transport: kind.oneOf(
    {
      flag: '--transport <name>',
      help: 'what hidden states travel by: tcp, rdma, or auto, which takes RDMA where both ends have it (default: auto)',
    },
    transportChoices,
  ),
  rdmaDevice: kind.text({
    flag: '--rdma-device <name>',
    help: 'RDMA device of this machine, by name or IPv4 address (default: the one that workers are reached by)',
  }),
  rdmaQueue: kind.oneOf(
    {
      flag: '--rdma-queue <kind>',
      help: 'rc repeats lost frames, uc is what Thunderbolt has (default: what suits the system)',
    },
    queueKinds,
  ),
  device: kind.oneOf(
    { flag: '--device <kind>', help: 'what computes (default: auto, the best there is)' },
    deviceKinds,
  ),
  engine: kind.oneOf(
    { flag: '--engine <name>', help: 'ggml, or onnx: ONNX Runtime (default: ggml)' },
    engineNames,
  ),
  provider: kind.oneOf(
    {
      flag: '--provider <name>',
      help: 'what computes for --engine onnx (default: cpu; doctor says which there are)',
    },
    providerNames,
  ),
  requantize: kind.toggle({
    flag: '--requantize',
    help: 'let --engine onnx turn types that it lacks, such as q4_K, into 8 bits',
  }),
  threads: kind.wholeNumber(
    {
      flag: '--threads <count>',
      help: 'CPU threads per process (default: its share of the cores)',
    },
    1,
    1024,
  ),
  chunk: kind.wholeNumber(
    { flag: '--chunk <tokens>', help: 'most tokens of a prompt in one step (default: 512)' },
    1,
    8192,
  ),
  maxTokens: kind.wholeNumber(
    { flag: '--max-tokens <count>', help: 'most tokens of an answer' },
    1,
    16_777_216,
  ),
  temperature: kind.numberBetween(
    { flag: '--temperature <value>', help: 'randomness; 0 always takes the likeliest token' },
    0,
    10,
  ),
  topK: kind.wholeNumber(
    { flag: '--top-k <count>', help: 'choose among the k likeliest tokens; 0 is all' },
    0,
    1_000_000,
  ),
  typicalP: kind.share({
    flag: '--typical-p <share>',
    help: 'choose among the tokens about as surprising as is to be expected that make up this share',
  }),
  topP: kind.share({
    flag: '--top-p <share>',
    help: 'choose among the likeliest tokens that make up this share',
  }),
  minP: kind.share({
    flag: '--min-p <share>',
    help: 'drop tokens less likely than this share of the likeliest',
  }),
  repetitionPenalty: kind.numberBetween(
    { flag: '--repetition-penalty <factor>', help: 'above 1: recent tokens are less likely again' },
    0.01,
    10,
  ),
  seed: kind.wholeNumber(
    { flag: '--seed <number>', help: 'the same seed gives the same text (default: random)' },
    0,
    4_294_967_295,
  ),
  system: kind.text({ flag: '--system <text>', help: 'system prompt' }),
  reasoning: kind.oneOf(
    {
      flag: '--reasoning <mode>',
      help: 'whether the model thinks before it answers, where it can do both: off, on, or auto, its habit (default: auto)',
    },
    reasoningChoices,
  ),
  pin: kind.toggle({
    flag: '--pin',
    help: 'bind every process to a core of its own (Linux), one thread each unless --threads says more',
  }),
  core: kind.wholeNumber(
    { flag: '--core <index>', help: 'bind this worker to a core (Linux)' },
    0,
    4095,
  ),
  host: kind.text({ flag: '--host <address>', help: 'address to listen on (default: 127.0.0.1)' }),
  port: kind.wholeNumber(
    {
      flag: '--port <number>',
      help: `port to listen on (default: ${kind.defaultPort}; 0: any free one)`,
    },
    0,
    65_535,
  ),
  secretFile: kind.path({
    flag: '--secret-file <file>',
    help: 'file with the cluster secret (default: DAISYCHAIN_SECRET, or the one of `secret new`)',
  }),
  insecure: kind.toggle({
    flag: '--insecure',
    help: 'neither secret nor encryption: only in a network that is yours alone',
  }),
  cacheDir: kind.path({
    flag: '--cache-dir <folder>',
    help: 'where received shards and hashes are kept',
  }),
  cacheLimit: kind.bytes({
    flag: '--cache-limit <size>',
    help: 'most bytes of received shards to keep, like 50GB (default: a tenth of the disk, 20 to 500 GB)',
  }),
  kvDisk: kind.bytes({
    flag: '--kv-disk <size>',
    help: 'most bytes of texts computed before to keep on disk, like 20GB; 0 keeps none (default: 5 % of what is free, at most 20 GB)',
  }),
  logLevel: kind.oneOf(
    { flag: '--log-level <level>', help: `how much is logged to stderr: ${logLevels.join(', ')}` },
    logLevels,
  ),
} as const;

export type SettingName = keyof typeof settings;

/** The settings that were given; absent ones have their defaults where they are used. */
export type Settings = {
  readonly [Name in SettingName]?: z.output<(typeof settings)[Name]['schema']>;
};

export const settingNames = Object.keys(settings) as SettingName[];

/** The name of a setting in a config file, which is also its long flag. */
export function nameInFile(name: SettingName): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** Settings of an engine, for whoever opens one. */
export const engineSettings: readonly SettingName[] = [
  'device',
  'engine',
  'provider',
  'requantize',
  'threads',
];
