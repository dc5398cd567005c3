import cliProgress, { type SingleBar } from 'cli-progress';
import type { Logger } from 'pino';
import { openCluster, type Cluster, type ClusterNeeds } from '../app/cluster.js';
import type { Prepared } from '../app/prepare.js';
import { describePlan } from './plan.js';

/** Opens a cluster, and shows on stderr, if that is a terminal, what is to be loaded, and how far it is. @throws as `openCluster` */
export async function openClusterWithProgress(
  prepared: Prepared,
  logger: Logger,
  needs: ClusterNeeds = {},
): Promise<Cluster> {
  using bars = new ProgressBars();
  return await openCluster(prepared, logger, {
    ...needs,
    onPlan: (plan) => bars.planned(describePlan(plan, prepared.totals)),
    onProgress: (event) => bars.loaded(event),
    onCalibration: (tokens, totalTokens) => bars.calibrated(tokens, totalTokens),
  });
}

type LoadEvent = Parameters<NonNullable<ClusterNeeds['onProgress']>>[0];

/** Bars of what each stage has loaded, and of calibration after it, on stderr, if that is a terminal. */
class ProgressBars implements Disposable {
  readonly #bars = new Map<string, SingleBar>();
  readonly #display: cliProgress.MultiBar | undefined;
  #calibration: SingleBar | undefined;

  constructor(private readonly stream: NodeJS.WriteStream = process.stderr) {
    if (!stream.isTTY) return;
    this.#display = new cliProgress.MultiBar(
      {
        stream,
        format: '{stage} {bar} {value}/{total} MB',
        formatValue: (value, _, kind) =>
          kind === 'value' || kind === 'total' ? (value / 1e6).toFixed(0) : `${value}`,
        hideCursor: false,
        clearOnComplete: true,
        // cli-progress would catch SIGINT itself, and leave it at that.
        gracefulExit: false,
      },
      cliProgress.Presets.shades_classic,
    );
  }

  /** Shows what is going to be loaded, before any bar. */
  planned(lines: readonly string[]): void {
    if (this.#display) this.stream.write(`${lines.join('\n')}\n`);
  }

  /** Shows how much a stage has loaded. */
  loaded({ stage, loadedBytes, totalBytes }: LoadEvent): void {
    if (!this.#display) return;
    const bar = this.#bars.get(stage);
    if (!bar) {
      const created = this.#display.create(totalBytes, loadedBytes, { stage: stage.padEnd(21) });
      this.#bars.set(stage, created);
      return;
    }
    bar.setTotal(totalBytes);
    bar.update(loadedBytes);
  }

  /** Shows how much of a text has calibrated keys and values. */
  calibrated(tokens: number, totalTokens: number): void {
    const format = 'calibrating KV        {bar} {value}/{total} tokens';
    const formatValue = (value: number) => `${value}`;
    this.#calibration ??= this.#display?.create(totalTokens, 0, {}, { format, formatValue });
    this.#calibration?.update(tokens);
  }

  [Symbol.dispose](): void {
    this.#display?.stop();
  }
}
