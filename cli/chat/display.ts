import type { Cluster } from '../../app/cluster.js';
import type { DraftStats } from '../../coord/speculator.js';
import type { StageStats } from '../../coord/stage-stats.js';
import type { AnswerPiece } from '../answer.js';
import { formatBytes, formatLatency, formatTable } from '../format.js';

/** Writes to a terminal, with some colour, or to anything else, without. */
export class Display {
  /** What the piece of an answer was that the line ends with. */
  #answering: AnswerPiece['type'] | undefined;

  constructor(
    private readonly output: NodeJS.WriteStream,
    private readonly isTerminal: boolean,
  ) {}

  /** Text of the model as it comes. Control characters stay out of the terminal, which would obey them. */
  write(text: string): void {
    this.output.write(this.#visible(text));
  }

  /** A piece of an answer as it comes. Reasoning is dim, and apart from what comes after it. */
  answer({ type, text }: AnswerPiece): void {
    if (this.#answering !== undefined && this.#answering !== type) this.output.write('\n\n');
    this.#answering = type;
    if (type === 'text') this.write(text);
    else this.output.write(this.#styled(2, this.#visible(text)));
  }

  line(text = ''): void {
    this.#answering = undefined;
    this.output.write(`${text}\n`);
  }

  /** A remark of ours. */
  note(text: string): void {
    this.line(this.#styled(2, text));
  }

  warning(text: string): void {
    this.line(this.#styled(33, text));
  }

  /** The prompt of an input, or of its next line. */
  prompt(isContinuation: boolean): string {
    return this.#styled(36, isContinuation ? '. ' : '> ');
  }

  #visible(text: string): string {
    return this.isTerminal ? text.replace(/[^\P{Cc}\n\t]/gu, '\ufffd') : text;
  }

  #styled(code: number, text: string): string {
    return this.isTerminal ? `\x1b[${code}m${text}\x1b[0m` : text;
  }
}

/** What runs where. */
export function describeCluster(model: string, cluster: Cluster): string {
  const { coordinator, context } = cluster;
  const { links } = coordinator;
  const { stages } = coordinator.plan;
  const total = stages.reduce((sum, { layers }) => sum + layers, 0);
  const split = stages.map(({ layers, name, device }) => `${layers} on ${name} (${device})`);
  return [
    model,
    `${total} layers: ${split.join(' + ')}`,
    ...(links.length > 0 ? [`links ${links.map(({ codec }) => codec).join(', ')}`] : []),
    `context ${context}`,
  ].join(' · ');
}

/** What became of drafts. */
export function describeDrafts({ accepted, drafted, mode }: DraftStats): string {
  const share = drafted === 0 ? '' : ` (${((100 * accepted) / drafted).toFixed(0)} %)`;
  return `drafts: ${accepted} of ${drafted} right${share}, speculation is ${mode}`;
}

/** What the stages did. */
export function describeStages(
  stats: readonly StageStats[],
  held: number,
  context: number,
): string {
  const heads = [
    'stage',
    'layers',
    'steps',
    'compute',
    'idle',
    'sent',
    'received',
    'link p50/p99',
    'memory',
  ];
  const rows = stats.map((stage) => [
    stage.name,
    String(stage.layers),
    String(stage.steps),
    `${stage.computeMs.toFixed(0)} ms`,
    `${(100 * stage.idleShare).toFixed(0)} %`,
    formatBytes(stage.bytesSent),
    formatBytes(stage.bytesReceived),
    formatLatency(stage.latency),
    formatBytes(stage.residentBytes),
  ]);
  return `${formatTable([heads, ...rows])}\n${held} of ${context} tokens in the context`;
}
