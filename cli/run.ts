import type { Command } from 'commander';
import { UsageError } from '../app/errors.js';
import { createLogger } from '../app/logging.js';
import { loadTokenizer } from '../app/model.js';
import { prepare } from '../app/prepare.js';
import { greedyDefaults, reasoningFrom, samplingFrom } from '../app/settings/choices.js';
import type { Coordinator } from '../coord/coordinator.js';
import type { GenerationSummary } from '../coord/generation.js';
import type { DraftStats } from '../coord/speculator.js';
import type { StageStats } from '../coord/stage-stats.js';
import { promptTokens } from '../model/prompt-tokens.js';
import { answerPrompt, describeSummary, type Answer, type AnswerPiece } from './answer.js';
import { Display } from './chat/display.js';
import { interruptible } from './interrupt.js';
import { addSettings, answerSettings, clusterSettings, settingsFrom } from './options.js';
import { openClusterWithProgress } from './progress.js';
import { formatPrompt, readPrompt, type PromptFlags } from './prompt.js';

const examples = `
Examples:
  daisychain run -m model.gguf -p "What is a daisy chain?"
  daisychain run -m model.gguf --layers 13,3 --spawn -p - < question.txt
  daisychain run -m model.gguf --worker mac-two:7070 --messages chat.json --json

--json prints one object: {text, reasoning, tokens, promptTokens, reusedTokens, finishReason, ttftMs, tokPerSec,
prefillTokPerSec, speculation: {mode, drafted, accepted, acceptanceRate, cancelledSteps}, stages}.`;

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
  /** What the model thought before; empty when it did not. */
  readonly reasoning: string;
  /** Generated token ids, with the one that ended the answer. */
  readonly tokens: readonly number[];
  readonly promptTokens: number;
  /** Of these, those that did not have to be computed. */
  readonly reusedTokens: number;
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
    .option('--prompt-tokens <ids>', 'token ids as the prompt, like 1,2,3, taken as they are')
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
  const { text, format } = formatPrompt(prompt, prepared.source, reasoningFrom(settings));
  const tokens = 'tokens' in prompt ? prompt.tokens : promptTokens(text, tokenizer);
  checkTokens(tokens, prepared.sizes.vocabulary);
  await using cluster = await openClusterWithProgress(prepared, logger);
  const { coordinator } = cluster;
  using interrupt = interruptible();
  await coordinator.stats({ reset: true });
  const display = new Display(process.stdout, process.stdout.isTTY);
  let shown = false;
  const show = (piece: AnswerPiece) => {
    if (flags.json) return;
    shown = true;
    display.answer(piece);
  };
  const answer = await answerPrompt(
    coordinator.conversation(),
    tokenizer,
    format,
    { text, tokens },
    {
      sampling: samplingFrom(settings, greedyDefaults),
      maxTokens: settings.maxTokens ?? defaultMaxTokens,
      signal: interrupt.signal,
    },
    show,
  ).finally(() => shown && display.line());
  if (answer.summary.finishReason === 'cancelled') process.exitCode = interruptedCode;
  if (flags.json) process.stdout.write(`${JSON.stringify(await report(answer, coordinator))}\n`);
  else if (process.stderr.isTTY) process.stderr.write(`${describeSummary(answer.summary)}\n`);
}

/** @throws UsageError */
function checkTokens(tokens: Int32Array, vocabulary: number): void {
  const unknown = tokens.find((token) => token >= vocabulary);
  if (unknown !== undefined)
    throw new UsageError('setting', `token ${unknown}: the model has ids below ${vocabulary}`);
}

async function report(
  { text, reasoning, tokens, summary }: Answer,
  coordinator: Coordinator,
): Promise<RunReport> {
  const { promptTokens, reusedTokens, finishReason, ttftMs, tokPerSec, prefillTokPerSec } = summary;
  const stages = await coordinator.stats();
  return {
    text,
    reasoning,
    tokens,
    promptTokens,
    reusedTokens,
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
