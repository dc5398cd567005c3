import { stageMs, type StageCosts } from '../speculative/cost-model.js';
import { tileRows } from '../step/tiles.js';

/** What CPUs typically show; only ratios matter. */
export const typicalCosts: StageCosts = [
  { tokens: 1, ms: 9 },
  { tokens: 512, ms: 520 },
];

/** Chunks at both ends whose sizes are varied: those between are computed while every stage is busy. */
const variedEnds = 3;

/** Beside others that decode, chunks have this many tiles if that saves this share of the time per row, otherwise one. */
const shortTiles = 2;
const worthwhileSaving = 0.15;

/** A prompt's part that is to be computed: tokens [first, end) of the text. */
export interface PromptPart {
  readonly first: number;
  readonly end: number;
}

/**
 * How a prompt is cut to get through a pipeline soonest. Equal stages finish after the time of all chunks and, for every
 * further stage, that of the longest one: so chunks take equal times rather than equal rows, as later ones look at more
 * cells. Chunks end where a tile of the text does, and have a tile's rows at least, so that a text does not depend on times
 * that were measured. Where stages differ, the chunks at the ends, which one stage computes while others wait, may be smaller.
 * @param costs of every stage with layers
 * @param mostTokens that one step may have
 * @returns where chunks end: ascending multiples of 64 and, at last, the end of the prompt
 */
export function promptChunks(
  { first, end }: PromptPart,
  costs: readonly StageCosts[],
  mostTokens: number,
): readonly number[] {
  const { grid, most } = gridOf(mostTokens);
  const borders = allowedBorders({ first, end }, grid, most);
  const time = (ends: readonly number[]) => promptMs({ first, end }, ends, costs);
  const cut = (mayBe: (begin: number, stop: number) => boolean) =>
    cutAt(borders, first, end, mayBe);
  if (costs.length < 2) return cut((begin, stop) => stop - begin <= most);
  const cuts = Array.from({ length: most / grid }, (_, i) => (i + 1) * grid).flatMap((rows) => {
    const limitMs = slowestMs(costs, rows, (first + end) / 2);
    const isShort = (begin: number, stop: number) =>
      slowestMs(costs, stop - begin, stop) <= limitMs;
    return [
      cut((begin, stop) => stop - begin <= rows),
      cut((begin, stop) => stop - begin <= most && isShort(begin, stop)),
    ];
  });
  // Of equally good ones that with larger chunks, which are fewer steps.
  const best = cuts.reduceRight((a, b) => (time(b) < time(a) ? b : a));
  return varied(first, best, { grid, most, borders: new Set(borders) }, time);
}

/**
 * How a prompt is cut while others decode, who have to wait for every chunk: the same as for `promptChunks` holds, but that
 * chunks are short.
 */
export function shortChunks(
  { first, end }: PromptPart,
  costs: readonly StageCosts[],
  mostTokens: number,
): readonly number[] {
  const { grid, most } = gridOf(mostTokens);
  const rowMs = (tiles: number) => slowestMs(costs, tiles * grid, end) / tiles;
  const isWorthwhile = rowMs(shortTiles) < (1 - worthwhileSaving) * rowMs(1);
  const rows = Math.min(most, isWorthwhile ? shortTiles * grid : grid);
  const borders = allowedBorders({ first, end }, grid, most);
  return cutAt(borders, first, end, (begin, stop) => stop - begin <= rows);
}

/** Chunks end at multiples of `grid`, and have `most` rows at most. */
function gridOf(mostTokens: number): { readonly grid: number; readonly most: number } {
  const grid = Math.min(tileRows, mostTokens);
  return { grid, most: mostTokens - (mostTokens % grid) };
}

/** Milliseconds until a pipeline that nobody else uses has computed all chunks. */
export function promptMs(
  { first }: PromptPart,
  ends: readonly number[],
  costs: readonly StageCosts[],
): number {
  const free = new Array<number>(costs.length).fill(0);
  let begin = first;
  let done = 0;
  for (const stop of ends) {
    done = 0;
    for (const [i, stage] of costs.entries())
      done = free[i] = Math.max(done, free[i] as number) + stageMs(stage, stop - begin, stop);
    begin = stop;
  }
  return done;
}

function slowestMs(costs: readonly StageCosts[], tokens: number, cells: number): number {
  return Math.max(...costs.map((stage) => stageMs(stage, tokens, cells)));
}

/** Where a prompt may be cut, ascending. */
function allowedBorders({ first, end }: PromptPart, grid: number, most: number): number[] {
  // With small chunks there is no way round short ones at both ends.
  const least = most >= 2 * grid ? grid : 1;
  const borders: number[] = [];
  const lowest = Math.ceil((first + least) / grid) * grid;
  for (let border = lowest; border <= end - least; border += grid) borders.push(border);
  return borders;
}

/** Chunks as long as they may be. */
function cutAt(
  borders: readonly number[],
  first: number,
  end: number,
  mayBe: (begin: number, stop: number) => boolean,
): number[] {
  const ends: number[] = [];
  let begin = first;
  for (const [i, border] of borders.entries()) {
    if (mayBe(begin, borders[i + 1] ?? end)) continue;
    ends.push(border);
    begin = border;
  }
  return [...ends, end];
}

/** What chunks may be. */
interface ChunkLimits {
  readonly grid: number;
  readonly most: number;
  readonly borders: ReadonlySet<number>;
}

/** Moves the borders near both ends for as long as that helps. */
function varied(
  first: number,
  ends: readonly number[],
  { grid, most, borders: allowedAt }: ChunkLimits,
  time: (ends: readonly number[]) => number,
): readonly number[] {
  const isAllowed = (candidate: readonly number[]) =>
    candidate.every((stop, i) => {
      const rows = stop - (candidate[i - 1] ?? first);
      const isBorder = i === ends.length - 1 ? stop === ends[i] : allowedAt.has(stop);
      return isBorder && rows > 0 && rows <= most;
    });
  const borders = ends.slice(0, -1).map((_, i) => i);
  const moved = new Set([...borders.slice(0, variedEnds), ...borders.slice(-variedEnds)]);
  // A border alone, with all before it, or with all behind it, so that only one chunk shrinks for one that grows.
  const spans = [...moved].flatMap((i): [number, number][] => [
    [i, i],
    [0, i],
    [i, borders.length - 1],
  ]);
  let best = ends;
  for (;;) {
    const variants = spans.flatMap(([from, to]) =>
      [-grid, grid].map((by) => best.map((stop, i) => (i >= from && i <= to ? stop + by : stop))),
    );
    const allowed = variants.filter(isAllowed);
    const better = [best, ...allowed].reduce((a, b) => (time(b) < time(a) ? b : a));
    if (better === best) return best;
    best = better;
  }
}
