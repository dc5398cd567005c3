import type { Shard } from '../../step/shard.js';
import { noState, type Step } from '../../step/step.js';
import type { HeadDemand } from '../sampling/step-results.js';
import type { AttentionPiece, CellWindow, SegmentShape } from './attention/attention.js';
import type { AttentionGroup, KvCache } from './attention/kv-cache.js';

/** Graphs of equal shape are interchangeable. */
export interface StepShape {
  readonly segments: readonly SegmentShapes[];
  /** What is asked of the head; undefined when it is nothing, or when there is none. */
  readonly head: HeadShape | undefined;
}

/** A segment as every group of layers attends to it. */
export interface SegmentShapes extends Pick<SegmentShape, 'rows'> {
  /** Of every group. */
  readonly views: readonly (CellWindow & Pick<SegmentShape, 'tiles'>)[];
  /** Whether it reads no state. */
  readonly begins: boolean;
}

export interface HeadShape extends Pick<HeadDemand, 'likeliest' | 'logits'> {
  readonly rows: number;
}

export function stepShape({ segments }: Step, demand: HeadDemand, kv: KvCache): StepShape {
  const { likeliest, logits } = demand;
  const rows = demand.rows.length;
  return {
    segments: segments.map(({ positions, visible, state }) => ({
      rows: positions.length,
      begins: state?.read === noState,
      views: kv.groups.map(({ way, places }) => ({
        tiles: way.tiles(positions),
        ...places.windowOf(visible, way.windowStep, way.cells),
      })),
    })),
    head: rows > 0 ? { rows, likeliest, logits } : undefined,
  };
}

export function rowsOfShape({ segments }: StepShape): number {
  return segments.reduce((sum, { rows }) => sum + rows, 0);
}

/** In which pieces a segment is attended by layers of a group. */
export function piecesOf(
  { rows, views }: SegmentShapes,
  { attention, way }: AttentionGroup,
  index: number,
): AttentionPiece[] {
  const view = views[index];
  return view ? way.pieces(attention, { rows, ...view }) : [];
}

/** Equal for equal shapes. */
export function shapeKey({ segments, head }: StepShape): string {
  const parts = segments.map(({ rows, views, begins }) =>
    [
      rows,
      begins,
      ...views.map(
        ({ tiles, windowStart, windowLength }) =>
          `${tiles.join('-')} ${windowStart} ${windowLength}`,
      ),
    ].join(' '),
  );
  if (head) parts.push(`${head.rows} ${head.likeliest} ${head.logits}`);
  return parts.join(', ');
}

/** Rows whose logits scratch memory is reserved for; more are possible and make it grow. */
const reservedHeadRows = 16;

/**
 * The shapes that need most: the largest chunk of a prompt, alone and with a row of another sequence, and drafts that
 * are checked.
 */
export function reservedShapes({ head }: Shard, kv: KvCache, maxStepRows: number): StepShape[] {
  const segment = (rows: number): SegmentShapes => ({
    rows,
    begins: true,
    views: kv.groups.map(({ attention: { window = Infinity }, way }) => ({
      tiles: way.tiles(Int32Array.from({ length: rows }, (_, i) => i)),
      windowStart: 0,
      windowLength: Math.min(
        way.cells,
        Math.ceil((rows + Math.min(window, way.cells)) / way.windowStep + 1) * way.windowStep,
      ),
    })),
  });
  const headOf = (rows: number) => (head ? { rows, likeliest: true, logits: true } : undefined);
  const few = Math.min(reservedHeadRows, maxStepRows);
  const shapes: StepShape[] = [
    { segments: [segment(maxStepRows)], head: headOf(1) },
    { segments: [segment(few)], head: headOf(few) },
  ];
  if (maxStepRows > 1)
    shapes.push({ segments: [segment(maxStepRows - 1), segment(1)], head: headOf(2) });
  return shapes;
}
