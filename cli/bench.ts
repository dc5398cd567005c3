import fs from 'node:fs/promises';
import path from 'node:path';
import { InvalidArgumentError, type Command } from 'commander';
import type { Cluster } from '../app/cluster.js';
import { describeDraft } from '../app/drafts.js';
import { UsageError } from '../app/errors.js';
import { createLogger } from '../app/logging.js';
import { prepare, type Prepared } from '../app/prepare.js';
import { greedyDefaults, samplingFrom } from '../app/settings/choices.js';
import { benchmark } from '../bench/benchmark.js';
import { chromeTrace } from '../bench/chrome-trace.js';
import { LlamaBenchTurns } from '../bench/comparison.js';
import { benchmarkDepths } from '../bench/depths.js';
import type { Coordinator } from '../coord/coordinator.js';
import { readModel } from '../model/architectures/model.js';
import { randomTokens } from '../model/random-tokens.js';
import { openLlamaBench } from './bench-compare.js';
import { writeModel } from './bench-model.js';
import { formatBenchReport, type BenchPlan, type BenchReport } from './bench-report.js';
import { arrivalRate, benchTexts, type TextFlags } from './bench-texts.js';
import { describeMachine, describeVersions } from './machine.js';
import { addSettings, clusterSettings, samplingSettings, settingsFrom } from './options.js';
import { openClusterWithProgress } from './progress.js';

const examples = `
Examples:
  daisychain bench -m model.gguf
  daisychain bench --synthetic qwen3-0.6b --type q4_0 --layers 14,14 --spawn --pin
  daisychain bench -m model.gguf --temperature 0.7 --top-k 40 --top-p 0.95    else greedy; the seed is 1 unless given
  daisychain bench -m model.gguf --depth 128,1024,4096 --compare llama-bench
  daisychain bench -m model.gguf --conversations 16 --prefill 1200 --shared-prefix 1000 --arrive poisson:2
  daisychain bench --synthetic qwen3-4b --write qwen3-4b.gguf    writes the model and ends
  daisychain bench --synthetic qwen3-30b-a3b --synthetic-layers 8 --write part.gguf

--json prints {machine, versions, plan, prefill: {tokens, tokPerSec}, decode: {tokens, tokPerSec, tpotMs}, ttftMs,
speculation: {mode, drafted, accepted, acceptanceRate, cancelledSteps, …}, stages,
batching: {steps, rowsPerStep, cohorts, queueMs}}, with --depth also
depths: [{depth, decode, stages}], with --experts also experts: {prefill, decode}, each {layers: [{layer, counts, rows,
steps, distinct, entropyBits, …}], bytesPerToken, bytesAlone}, with --compare also comparisons: [{test, tokens, tokPerSec,
theirs, ratio}]. With several --conversations decode.tokPerSec is of all together, and conversations: {count, ttftMs:
{p50, p99}, tpotMs: {p50, p99}, fairness, longestWaitMs, shared, arrive} says how they fared.
With --worker and --synthetic, start the workers with the same --synthetic and --type: nothing is sent then.`;

interface BenchFlags extends TextFlags {
  readonly decode: number;
  readonly repeat?: number;
  readonly experts?: boolean;
  readonly depth?: readonly number[];
  readonly compare?: string;
  readonly trace?: string;
  readonly write?: string;
  readonly json?: boolean;
}

/** The context is a multiple of this many tokens, as small as the measurement allows. */
const contextStep = 256;

/** `daisychain bench`: how fast a model runs on a split, and where the time goes. */
export function addBenchCommand(program: Command): void {
  const command = program
    .command('bench')
    .description('measure tokens per second, and where the time of every stage goes')
    .option('-p, --prompt <text>', 'a prompt to answer; without it, the tokens are random')
    .option('--prefill <tokens>', 'tokens of the random prompt', count, 128)
    .option('--decode <tokens>', 'most tokens to generate after it', count, 64)
    .option(
      '--repeat <times>',
      'measurements, after one that warms up (default: 3; 5 with --compare)',
      count,
    )
    .option(
      '--conversations <count>',
      'conversations at once, each with a prompt of its own',
      count,
      1,
    )
    .option('--shared-prefix <tokens>', 'tokens that all random prompts begin with', count)
    .option(
      '--arrive <how>',
      'when conversations begin: poisson:R, R per second on average (default: all read their prompts in turn, then answer together)',
      arrivalRate,
    )
    .option('--experts', 'count which experts tokens go through, and what steps read for that')
    .option('--depth <tokens>', 'measure decoding after so many tokens too, like 128,1024', counts)
    .option(
      '--compare <program>',
      "run llama.cpp's llama-bench in turns, on the same model and cores: its name or file",
    )
    .option('--trace <file>', 'write a timeline of the measurements (Chrome trace format)')
    .option('--write <file>', 'write the synthetic model to a file (GGUF) instead')
    .option('--json', 'print one JSON object')
    .addHelpText('after', examples)
    .action(bench);
  addSettings(command, [
    'synthetic',
    'syntheticLayers',
    'type',
    ...clusterSettings,
    ...samplingSettings,
  ]);
}

function count(value: string): number {
  const number = Number(value);
  if (!Number.isInteger(number) || number < 1)
    throw new InvalidArgumentError('expected a whole number of 1 or more');
  return number;
}

function counts(list: string): number[] {
  return list.split(',').map(count);
}

async function bench(flags: BenchFlags & Record<string, unknown>): Promise<void> {
  // What an earlier run has computed is not measured, unless somebody wants just that.
  const settings = { kvDisk: 0, ...settingsFrom(flags) };
  if (flags.write !== undefined) {
    process.stdout.write(`${await writeModel(settings, flags.write)}\n`);
    return;
  }
  const logger = createLogger(settings, 'warn');
  await using opened = await prepare(settings, logger);
  const experts = flags.experts ?? false;
  if (experts) checkExperts(opened);
  checkArrivals(flags);
  const { length, shared, ...begin } = benchTexts(flags, opened);
  // Whoever compares wants to know of decoding too.
  const lengths = flags.depth ?? (flags.compare === undefined ? [] : [length]);
  const needed = Math.max(length, ...lengths) + flags.decode;
  const context = settings.context ?? Math.ceil(needed / contextStep) * contextStep;
  if (context < needed)
    throw new UsageError('combination', `--context ${context} is too small for ${needed} tokens`);
  const prepared = { ...opened, settings: { ...opened.settings, context } };
  const recording: number[] = [];
  const { conversations, compare, arrive } = flags;
  await using llamaBench =
    compare === undefined ? undefined : await openLlamaBench(compare, prepared, conversations);
  await using cluster = await openClusterWithProgress(prepared, logger, {
    conversations,
    recording,
    countsRoutings: experts,
  });
  const { coordinator } = cluster;
  const options = {
    decodeTokens: flags.decode,
    repeat: flags.repeat ?? (llamaBench ? 5 : 3),
    sampling: samplingFrom({ seed: 1, ...settings }, greedyDefaults),
    conversations,
    recording,
    reuse: flags.sharedPrefix !== undefined,
    source: prepared.source,
    cells: context * conversations,
    experts,
  };
  const reading = llamaBench && new LlamaBenchTurns(llamaBench, { prompt: length });
  const result = await benchmark(coordinator, {
    ...options,
    ...begin,
    onMeasurement: async (index) => {
      logger.info(index === 0 ? 'warming up' : `measurement ${index}`);
      if (index > 0) await reading?.take();
      if (index === 1 && flags.trace !== undefined) coordinator.startTrace();
    },
  });
  if (flags.trace !== undefined) await writeTrace(coordinator, flags.trace);
  const { depths, comparisons } = await benchmarkDepths(coordinator, lengths, {
    ...options,
    text: (tokens) => randomTokens(tokens, prepared.sizes.vocabulary),
    isEnd: () => false,
    llamaBench,
    onMeasurement: (index) =>
      logger.info(index === 0 ? 'reading a text' : `measurement ${index} after it`),
  });
  if (reading) comparisons.unshift(reading.against(result.prefill.tokPerSec));
  const { conversations: fared, ...figures } = result;
  const report: BenchReport = {
    machine: describeMachine(),
    versions: describeVersions(prepared.engine),
    plan: planOf(prepared, cluster),
    ...(result.speculation ? { draft: describeDraft(prepared.settings) } : {}),
    ...figures,
    ...(fared ? { conversations: { ...fared, shared, arrive } } : {}),
    ...(depths.length > 0 ? { depths } : {}),
    ...(comparisons.length > 0 ? { comparisons } : {}),
  };
  process.stdout.write(`${flags.json ? JSON.stringify(report) : formatBenchReport(report)}\n`);
}

/** @throws UsageError */
function checkArrivals({ arrive, depth, compare }: BenchFlags): void {
  if (arrive !== undefined && (depth ?? compare) !== undefined)
    throw new UsageError(
      'combination',
      `--arrive measures answers among others: leave out ${depth ? '--depth' : '--compare'}`,
    );
}

/** @throws UsageError where there is nothing to count */
function checkExperts({ source, engine }: Prepared): void {
  const { layers, family } = readModel(source);
  if (engine.name !== 'ggml')
    throw new UsageError(
      'combination',
      '--experts needs --engine ggml: this one computes no experts',
    );
  if (layers.every(({ feedForward }) => feedForward.kind !== 'moe'))
    throw new UsageError(
      'combination',
      `--experts needs a model with experts: this one, of the ${family} family, has none`,
    );
}

async function writeTrace(coordinator: Coordinator, file: string): Promise<void> {
  const events = await coordinator.stopTrace();
  const stages = coordinator.plan.stages.map(({ name }, i) => ({ name, events: events[i] ?? [] }));
  try {
    await fs.writeFile(file, chromeTrace(stages));
  } catch (error) {
    throw new UsageError('file', `cannot write ${file}: ${(error as NodeJS.ErrnoException).code}`, {
      cause: error,
    });
  }
}

function planOf({ settings, engine, totals }: Prepared, cluster: Cluster): BenchPlan {
  const { coordinator, context } = cluster;
  const { synthetic, type, model } = settings;
  const { stages } = coordinator.plan;
  return {
    model: synthetic ? `synthetic ${synthetic}, ${type ?? 'q4_0'}` : path.basename(model ?? ''),
    stages,
    totals,
    links: coordinator.links,
    kvType: [...coordinator.kvTypes].join(' and '),
    context,
    threads: engine.threads,
    pinned: settings.pin ?? false,
  };
}
