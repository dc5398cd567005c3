import type { Command } from 'commander';
import { createLogger } from '../app/logging.js';
import { loadTokenizer } from '../app/model.js';
import { prepare } from '../app/prepare.js';
import { greedyDefaults, samplingFrom } from '../app/settings/choices.js';
import type { Coordinator } from '../coord/coordinator.js';
import type { GenerationSummary } from '../coord/generation.js';
import type { DraftStats } from '../coord/speculator.js';
import type { StageStats } from '../coord/stage-stats.js';
import { promptTokens } from '../model/prompt-tokens.js';
import { answerPrompt, describeSummary, type Answer } from './answer.js';
import { interruptible } from './interrupt.js';
import { addSettings, answerSettings, clusterSettings, settingsFrom } from './options.js';
import { openClusterWithProgress } from './progress.js';
import { promptText, readPrompt, type PromptFlags } from './prompt.js';

const examples = `
Examples:
  daisychain run -m model.gguf -p "What is a daisy chain?"
  daisychain run -m model.gguf --layers 13,3 --spawn -p - < question.txt
  daisychain run -m model.gguf --worker mac-two:7070 --messages chat.json --json

--json prints one object: {text, tokens, promptTokens, finishReason, ttftMs, tokPerSec, prefillTokPerSec,
speculation: {mode, drafted, accepted, acceptanceRate, cancelledSteps}, stages}.`;

const defaultMaxTokens = 512;

/** What shells report for a program that Ctrl-C ended. */
const interruptedCode = 130;

interface RunFlags extends PromptFlags {
  readonly json?: boolean;
}

/** What became of drafts. */
type SpeculationReport = Pick<
  DraftStats,
  'mode' | 'drafted' | 'accepted' | 'acceptanceRate' | 'cancelledSteps'
>;

/** What `run --json` prints. */
export interface RunReport {
  readonly text: string;
  /** Generated token ids, with the one that ended the answer. */
  readonly tokens: readonly number[];
  readonly promptTokens: number;
  readonly finishReason: GenerationSummary['finishReason'];
  readonly ttftMs: number;
  readonly tokPerSec: number;
  readonly prefillTokPerSec: number;
  readonly speculation: SpeculationReport;
  readonly stages: readonly Pick<StageStats, 'layers' | 'computeMs' | 'idleShare'>[];
}

/** `daisychain run`: one prompt, one answer. */
export function addRunCommand(program: Command): void {
  const command = program
    .command('run')
    .description('answer one prompt')
    .option('-p, --prompt <text>', 'the prompt; - reads it from stdin')
    .option('--messages <file>', 'JSON file with [{role, content}, …] instead of a prompt')
    .option('--raw', 'take the prompt as plain text, without the chat template')
    .option('--json', 'print one JSON object with the answer, its tokens and times')
    .addHelpText('after', examples)
    .action(run);
  addSettings(command, [...clusterSettings, ...answerSettings]);
}

async function run(flags: RunFlags & Record<string, unknown>): Promise<void> {
  const settings = settingsFrom(flags);
  const logger = createLogger(settings, 'warn');
  const prompt = await readPrompt(flags, settings.system);
  await using prepared = await prepare(settings, logger);
  using tokenizer = loadTokenizer(settings);
  const tokens = promptTokens(promptText(prompt, prepared.source), tokenizer);
  await using cluster = await openClusterWithProgress(prepared, logger);
  const { coordinator } = cluster;
  using interrupt = interruptible();
  await coordinator.stats({ reset: true });
  let shown = false;
  const show = (piece: string) => {
    if (flags.json) return;
    shown = true;
    process.stdout.write(piece);
  };
  const answer = await answerPrompt(
    coordinator.conversation(),
    tokenizer,
    tokens,
    {
      sampling: samplingFrom(settings, greedyDefaults),
      maxTokens: settings.maxTokens ?? defaultMaxTokens,
      signal: interrupt.signal,
    },
    (piece) => show(piece),
  ).finally(() => shown && process.stdout.write('\n'));
  if (answer.summary.finishReason === 'cancelled') process.exitCode = interruptedCode;
  if (flags.json) process.stdout.write(`${JSON.stringify(await report(answer, coordinator))}\n`);
  else if (process.stderr.isTTY) process.stderr.write(`${describeSummary(answer.summary)}\n`);
}

async function report(
  { text, tokens, summary }: Answer,
  coordinator: Coordinator,
): Promise<RunReport> {
  const { promptTokens, finishReason, ttftMs, tokPerSec, prefillTokPerSec } = summary;
  const stages = await coordinator.stats();
  return {
    text,
    tokens,
    promptTokens,
    finishReason,
    ttftMs,
    tokPerSec,
    prefillTokPerSec,
    speculation: describeSpeculation(coordinator.speculation?.stats),
    stages: stages.map(({ layers, computeMs, idleShare }) => ({ layers, computeMs, idleShare })),
  };
}

const noSpeculation: SpeculationReport = {
  mode: 'off',
  drafted: 0,
  accepted: 0,
  acceptanceRate: 0,
  cancelledSteps: 0,
};

/** @param stats undefined when there is no speculation */
function describeSpeculation(stats: DraftStats | undefined): SpeculationReport {
  if (!stats) return noSpeculation;
  const { mode, drafted, accepted, acceptanceRate, cancelledSteps } = stats;
  return { mode, drafted, accepted, acceptanceRate, cancelledSteps };
}
