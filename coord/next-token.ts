import type { SegmentId } from '../stage/wanted-segments.js';
import type { StepCost } from '../stage/step-cost.js';
import { chunkSize } from './chunk-size.js';
import { cancelled, type Pipeline } from './pipeline.js';
import { causalSegment } from './segments.js';
import type { Sequence } from './sequence.js';

/** What computing a text depends on. */
export interface Computing {
  readonly pipeline: Pipeline;
  /** Most tokens in a step. */
  readonly chunkTokens: number;
  /** Stages with layers. */
  readonly stages: number;
  /** What a step costs on the slowest stage, as far as that is known. */
  readonly stepCost: () => StepCost | undefined;
}

/** Steps of a text that may be under way at once, for each stage. */
const chunksInFlightPerStage = 2;

interface Chunk extends SegmentId {
  readonly end: number;
  readonly choices: Promise<Int32Array>;
}

/**
 * The token that follows a text. What is not in cells yet is sent in chunks that follow each other through the stages:
 * all of a new prompt, one token while a text is decoded.
 * @throws CoordinatorError 'cancelled' when the signal says so; 'route', 'worker-lost', 'step'
 */
export async function nextToken(
  sequence: Sequence,
  { pipeline, chunkTokens, stages, stepCost }: Computing,
  signal: AbortSignal,
): Promise<number> {
  sequence.enter(await pipeline.ready(signal));
  const { text, computed } = sequence;
  const end = text.certain;
  // The last token is computed in any case, as its successor is wanted.
  let sent = Math.min(computed.at, end - 1);
  const chunk = chunkSize(end - sent, stages, stepCost(), chunkTokens);
  const inFlight: Chunk[] = [];
  const cancel = () => pipeline.cancel(inFlight);
  signal.addEventListener('abort', cancel);
  try {
    for (;;) {
      if (signal.aborted) throw cancelled();
      if (sent < end && inFlight.length < chunksInFlightPerStage * stages) {
        const count = Math.min(chunk, end - sent);
        inFlight.push(submitChunk(sequence, pipeline, sent, count, sent + count === end));
        sent += count;
        continue;
      }
      const [first] = inFlight as [Chunk];
      const [next] = await first.choices;
      inFlight.shift();
      computed.at = first.end;
      if (first.end === end) return next as number;
    }
  } catch (error) {
    cancel();
    throw signal.aborted ? cancelled() : error;
  } finally {
    signal.removeEventListener('abort', cancel);
  }
}

function submitChunk(
  sequence: Sequence,
  pipeline: Pipeline,
  first: number,
  count: number,
  isLast: boolean,
): Chunk {
  const segment = causalSegment({
    sequence: sequence.id,
    text: sequence.text.tokens,
    first,
    count,
    cells: sequence.cells,
    choices: isLast ? 'last' : 'none',
    sampling: sequence.sampling,
  });
  const { id, results } = pipeline.submit([segment], { epoch: sequence.epoch });
  const choices = (results[0] as (typeof results)[0]).then((result) => result.choices);
  choices.catch(() => undefined);
  return { step: id, sequence: sequence.id, end: first + count, choices };
}
