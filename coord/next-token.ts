import type { SegmentId } from '../stage/wanted-segments.js';
import type { StageCosts } from '../speculative/cost-model.js';
import type { StateSlots } from '../step/step.js';
import { fewRows } from '../step/tiles.js';
import { cancelled, type Pipeline } from './pipeline.js';
import { promptChunks } from './prompt-chunks.js';
import { causalSegment } from './segments.js';
import type { Sequence, Stretch } from './sequence.js';

/** What computing a text depends on. */
export interface Computing {
  readonly pipeline: Pipeline;
  /** Most tokens in a step. */
  readonly chunkTokens: number;
  /** What steps cost on every stage with layers. */
  readonly stepCosts: () => readonly StageCosts[];
}

/** Steps of a text that may be under way at once, for each stage. */
const chunksInFlightPerStage = 2;

interface Chunk extends SegmentId {
  readonly end: number;
  readonly state: StateSlots | undefined;
  readonly choices: Promise<Int32Array>;
}

/**
 * The token that follows a text. What is not in cells yet is sent in chunks that follow each other through the stages:
 * all of a new prompt, one token while a text is decoded.
 * @throws CoordinatorError 'cancelled' when the signal says so; 'route', 'worker-lost', 'step'
 */
export async function nextToken(
  sequence: Sequence,
  { pipeline, chunkTokens, stepCosts }: Computing,
  signal: AbortSignal,
): Promise<number> {
  sequence.enter(await pipeline.ready(signal));
  const { text, computed } = sequence;
  const end = text.certain;
  let sent = sequence.firstMissing(end);
  const costs = stepCosts();
  const ends = sequence
    .compute(sent, end)
    .flatMap((stretch) => stepEnds(stretch, costs, chunkTokens));
  let submitted = 0;
  const inFlight: Chunk[] = [];
  const cancel = () => pipeline.cancel(inFlight);
  signal.addEventListener('abort', cancel);
  try {
    for (;;) {
      if (signal.aborted) throw cancelled();
      const next = ends[submitted];
      if (next !== undefined && inFlight.length < chunksInFlightPerStage * costs.length) {
        inFlight.push(submitChunk(sequence, pipeline, sent, next - sent, next === end));
        sent = next;
        submitted++;
        continue;
      }
      const [first] = inFlight as [Chunk];
      const [token] = await first.choices;
      inFlight.shift();
      computed.at = Math.max(computed.at, first.end);
      sequence.states.passed(first.end, first.state);
      if (first.end === end) return token as number;
    }
  } catch (error) {
    cancel();
    sequence.states.giveUp();
    throw signal.aborted ? cancelled() : error;
  } finally {
    signal.removeEventListener('abort', cancel);
  }
}

/** Where steps end. */
function stepEnds(
  { first, end, isPrompt }: Stretch,
  costs: readonly StageCosts[],
  chunkTokens: number,
): readonly number[] {
  if (isPrompt) return promptChunks({ first, end }, costs, chunkTokens);
  const most = Math.min(fewRows, chunkTokens);
  const steps = Math.ceil((end - first) / most);
  return Array.from({ length: steps }, (_, i) => Math.min(end, first + (i + 1) * most));
}

function submitChunk(
  sequence: Sequence,
  pipeline: Pipeline,
  first: number,
  count: number,
  isLast: boolean,
): Chunk {
  const end = first + count;
  const state = sequence.states.take(first, end);
  const segment = causalSegment({
    sequence: sequence.id,
    text: sequence.text.tokens,
    first,
    count,
    cells: sequence.cells,
    choices: isLast ? 'last' : 'none',
    sampling: sequence.sampling,
    state,
  });
  const { id, results } = pipeline.submit([segment], { epoch: sequence.epoch });
  const choices = (results[0] as (typeof results)[0]).then((result) => result.choices);
  choices.catch(() => undefined);
  return { step: id, sequence: sequence.id, end, state, choices };
}
