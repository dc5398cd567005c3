import type { BenchmarkResult, BenchmarkStage, DepthResult } from '../bench/benchmark-result.js';
import type { Comparison } from '../bench/comparison.js';
import { describeLink, type NamedLink } from '../coord/links.js';
import type { PlannedStage } from '../coord/plan.js';
import type { ModelTotals } from '../model/architectures/totals.js';
import { formatComparisons, formatDepths, formatExperts, formatLimits } from './bench-tables.js';
import { formatConversations, type ConversationsReport } from './bench-conversations.js';
import { formatBytes, formatLatency, formatTable, formatVersions } from './format.js';
import { describePlan } from './plan.js';
import type { describeMachine } from './machine.js';

/** What `bench --json` prints. */
export interface BenchReport extends BenchmarkResult {
  readonly machine: ReturnType<typeof describeMachine>;
  readonly versions: Readonly<Record<string, string>>;
  readonly plan: BenchPlan;
  /** Where there are several. */
  readonly conversations?: ConversationsReport;
  /** What `--draft` said, and whether its drafts were a simulation. */
  readonly draft?: { readonly name: string; readonly simulation: boolean };
  /** Of `--depth`. */
  readonly depths?: readonly DepthResult[];
  /** Of `--compare`. */
  readonly comparisons?: readonly Comparison[];
}

/** What was measured. */
export interface BenchPlan {
  readonly model: string;
  readonly stages: readonly PlannedStage[];
  /** What the model is, and what it keeps of texts. */
  readonly totals: ModelTotals;
  /** In pipeline order, with what was measured of them. */
  readonly links: readonly NamedLink[];
  /** What the stages really keep keys and values in. */
  readonly kvType: string;
  readonly context: number;
  readonly threads: number;
  readonly pinned: boolean;
}

/** The report for people. */
export function formatBenchReport(report: BenchReport): string {
  const { machine, versions, plan, prefill, decode, ttftMs, batching } = report;
  const setup = [
    ['machine', `${machine.cpu}, ${machine.cores} cores, ${formatBytes(machine.memoryBytes)}`],
    ['versions', formatVersions(versions)],
    ['model', plan.model],
    ...describePlan(plan, plan.totals).map((line, i) => [i === 0 ? 'plan' : '', line]),
    ...plan.links.map((link, i) => [i === 0 ? 'links' : '', describeLink(link)]),
    [
      '',
      `KV ${plan.kvType}, context ${plan.context}, threads per process ${plan.threads}${plan.pinned ? ', one core each' : ''}`,
    ],
  ];
  const figures = [
    [
      'prefill',
      `${prefill.tokPerSec.toFixed(1)} tok/s`,
      `${prefill.tokens} tokens, TTFT ${ttftMs.toFixed(1)} ms`,
    ],
    [
      'decode',
      `${decode.tokPerSec.toFixed(1)} tok/s`,
      `${decode.tokens} tokens, TPOT ${decode.tpotMs.toFixed(2)} ms`,
    ],
    ...(batching.rowsPerStep > 1
      ? [
          [
            'batch',
            `${batching.rowsPerStep.toFixed(1)} rows per step`,
            `${batching.cohorts.toFixed(1)} steps in flight, a row waits ${batching.queueMs.token.mean.toFixed(2)} ms for one`,
          ],
        ]
      : []),
  ];
  return [
    setup.map(([name, value]) => `${(name ?? '').padEnd(9)} ${value}`).join('\n'),
    figures.map(([name, rate, rest]) => `${name?.padEnd(9)} ${rate}   (${rest})`).join('\n'),
    ...(report.conversations ? [formatConversations(report.conversations)] : []),
    ...formatSpeculation(report),
    formatStages(report),
    formatLimits(report.stages),
    ...(report.experts ? [formatExperts(report.experts)] : []),
    ...(report.depths ? [formatDepths(report.depths)] : []),
    ...(report.comparisons ? [formatComparisons(report.comparisons)] : []),
  ].join('\n\n');
}

function formatSpeculation({ speculation, draft }: BenchReport): string[] {
  if (!speculation || !draft) return [];
  const { mode, speedup, off, acceptanceRate, drafted, acceptedPerStep, cancelledSteps } =
    speculation;
  const lines = [
    `${mode}, drafts by ${draft.name}: ${speedup.toFixed(2)} x off (${off.tokPerSec.toFixed(1)} tok/s), the cost model promised ${speculation.promisedSpeedup.toFixed(2)} x`,
    `${(100 * acceptanceRate).toFixed(1)} % of ${drafted} judged drafts accepted, ${acceptedPerStep.toFixed(2)} per step, ${cancelledSteps} steps cancelled`,
    ...(draft.simulation
      ? ['SIMULATION: the drafts replay the recorded text, as often right as was asked for']
      : []),
  ];
  return [lines.map((line, i) => `${(i === 0 ? 'drafts' : '').padEnd(9)} ${line}`).join('\n')];
}

/** Where the time of a decode step goes. */
function formatStages({ stages, decode }: BenchmarkResult): string {
  const ms = (value: number) => value.toFixed(3);
  const heads = [
    'ms per step',
    'layers',
    'compute',
    'encode',
    'decode',
    'send',
    'waiting',
    'idle',
    'sent',
    'link p50/p99',
    'memory',
  ];
  const rows = stages.map((stage) => [
    stage.name,
    String(stage.layers),
    ms(stage.computeMs),
    ms(stage.encodeMs),
    ms(stage.decodeMs),
    ms(stage.sendMs),
    ms(stage.waitMs),
    `${(100 * stage.idleShare).toFixed(0)} %`,
    `${stage.bytesSent.toFixed(0)} B`,
    formatLatency(stage.latency),
    formatBytes(stage.residentBytes),
  ]);
  const sum = (part: (stage: BenchmarkStage) => number) =>
    stages.reduce((total, stage) => total + part(stage), 0);
  const compute = sum(({ computeMs }) => computeMs);
  const codec = sum(({ encodeMs, decodeMs }) => encodeMs + decodeMs);
  const send = sum(({ sendMs }) => sendMs);
  const rest = decode.tpotMs - compute - codec - send;
  const percent = (value: number) => `${((100 * value) / decode.tpotMs).toFixed(1)} %`;
  const share = (name: string, value: number) => [name, `${ms(value)} ms`, percent(value)];
  return [
    formatTable([heads, ...rows]),
    '',
    'where a step goes',
    formatTable([
      share('compute', compute),
      share('encode, decode', codec),
      share('send', send),
      share('rest: network, wake-ups, event loops', rest),
    ]),
    '',
    `everything but compute: ${ms((decode.tpotMs - compute) / Math.max(1, stages.length))} ms per step and stage`,
  ].join('\n');
}
