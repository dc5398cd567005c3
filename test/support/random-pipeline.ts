import { Pipeline } from '../../coord/pipeline.js';
import type { DraftSource } from '../../speculative/draft-source.js';
import { StageRunner } from '../../stage/stage-runner.js';
import { Turns } from '../../stage/turns.js';
import type { TokenText } from '../../step/token-text.js';
import { Tracer } from '../../transport/protocol/tracer.js';
import { choiceAfter, DeterministicStage, vocabulary } from './deterministic-stage.js';
import { Random } from './random.js';

/** Two real stage loops over exact stages; every hand-over takes a random time. Links keep the order, results do not. */
export class RandomPipeline {
  readonly pipeline = new Pipeline();
  readonly #random: Random;
  #runners: readonly StageRunner[] = [];
  #epoch = 0;

  /** @param mostRows that a step may have */
  constructor(
    seed: number,
    private readonly mostRows: number,
  ) {
    this.#random = new Random(seed);
    this.rearrange();
  }

  /** Other stages, whose cells hold nothing, take the place of those that there were. */
  rearrange(): void {
    let link = Promise.resolve();
    const epoch = ++this.#epoch;
    const delay = () => this.#delay(4);
    const fail = (step: { id: number; epoch: number }, error: Error) =>
      this.pipeline.failed(step, error);
    const options = () => ({
      maxStepRows: this.mostRows,
      turns: new Turns(),
      tracer: new Tracer(),
    });
    const last = new StageRunner(
      new DeterministicStage(true, delay),
      {
        forward: () => undefined,
        finish: (step, results) =>
          void this.#delay(3).then(() => this.pipeline.finished(step, results)),
        fail,
      },
      options(),
    );
    const first = new StageRunner(
      new DeterministicStage(false, delay),
      {
        forward: (step, hidden) => {
          const sent = hidden.slice();
          link = link.then(() => this.#delay(3)).then(() => last.enqueue(step, sent));
        },
        finish: () => undefined,
        fail,
      },
      options(),
    );
    const old = this.#runners;
    this.#runners = [first, last];
    for (const runner of old) void runner.stop();
    this.pipeline.use({
      epoch,
      submit: (step) => first.enqueue(step, new Float32Array(0)),
      cancel: (segments) => {
        first.cancel(segments);
        void this.#delay(5).then(() => last.cancel(segments));
      },
    });
    this.pipeline.resume();
  }

  async stop(): Promise<void> {
    for (const runner of this.#runners) await runner.stop();
  }

  async #delay(most: number): Promise<void> {
    for (let turns = this.#random.between(0, most); turns > 0; turns--)
      await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Right now and then, slow at times, short of ideas at others. */
export function scriptedDrafts(random: Random): DraftSource {
  const accuracy = random.share();
  const laziness = random.share() * 0.3;
  const failing = random.share() < 0.03;
  return {
    name: 'scripted',
    async *draft({ tokens }: TokenText, count: number) {
      const guesses = [...tokens];
      for (let i = 0; i < count && random.share() > laziness; i++) {
        for (let turns = random.between(0, 3); turns > 0; turns--)
          await new Promise((resolve) => setImmediate(resolve));
        if (failing && random.share() < 0.05) throw new Error('the draft broke');
        const right = choiceAfter(guesses);
        guesses.push(random.share() < accuracy ? right : random.between(0, vocabulary - 1));
        yield guesses.at(-1) as number;
      }
    },
  };
}
