import type { UniformSizes } from '../uniform-sizes.js';
import { elementType } from '../runtime/api.js';
import {
  findsScales,
  hasWayForLoneTokens,
  isForBlocks,
  type AttentionForm,
} from './attention-form.js';
import { addAttentionNode, type Rows } from './attention-node.js';
import { addBlockAttention } from './block-attention.js';
import type { Graph } from './graph.js';
import { segmentInput, stepInput } from './input-names.js';
import { cacheKinds, cellNames, scaleNames, type PastAndPresent } from './kv-names.js';
import { addFittingScales } from './kv-scales.js';
import { addLoneTokenAttention } from './lone-token-attention.js';
import type { TensorInfoProto } from './model-proto.js';

/** A way to attend. It writes what was attended to, present keys and values, and present scales where they change. */
interface Way {
  /** bool [1]: whether it is taken; without a condition it is. */
  readonly when?: string;
  readonly add: (graph: Graph, outputs: readonly string[]) => void;
}

/** The attention of one segment's rows in one layer. */
export class SegmentAttention {
  readonly #cells: readonly PastAndPresent[];
  readonly #scales: readonly PastAndPresent[];

  constructor(
    private readonly sizes: UniformSizes,
    private readonly form: AttentionForm,
    private readonly layer: number,
    private readonly place: number,
    private readonly rows: Rows,
  ) {
    this.#cells = cacheKinds.map((kind) => {
      const { past, present } = cellNames(layer, kind, place);
      // A part of a segment finds the cells as the part before it leaves them.
      const isLater = form.isInParts && place > 0;
      return { past: isLater ? cellNames(layer, kind, place - 1).present : past, present };
    });
    this.#scales = form.storage === 'int8' ? cacheKinds.map((kind) => scaleNames(layer, kind)) : [];
  }

  /** @returns name of f32 [1, rows of the segment, heads · headSize] */
  addTo(graph: Graph): string {
    const { heads, headSize } = this.sizes;
    const attended = {
      name: graph.newName(),
      type: elementType.f32,
      shape: [1, `rows of segment ${this.place}`, heads * headSize],
    };
    const outputs = [attended, ...this.#addCells(graph), ...this.#addScales(graph)];
    addFirstWay(graph, outputs, this.#ways());
    return attended.name;
  }

  /** The first whose condition is met. */
  #ways(): Way[] {
    const { form, place } = this;
    if (isForBlocks(form, place)) return [{ add: (...to) => this.#attendInBlocks(...to) }];
    const { isAlone, isEmpty } = segmentInput(place);
    const ways: Way[] = [];
    if (findsScales(form))
      ways.push({ when: stepInput.calibrates, add: (...to) => this.#calibrate(...to) });
    if (hasWayForLoneTokens(form))
      ways.push({ when: isAlone, add: (...to) => this.#attendAlone(...to) });
    if (form.places > 1) ways.push({ when: isEmpty, add: (...to) => this.#leave(...to) });
    return [...ways, { add: (graph, outputs) => this.#attend(graph, this.rows, outputs) }];
  }

  #addCells(graph: Graph): TensorInfoProto[] {
    const { kvHeads, headSize } = this.sizes;
    const type = this.form.storage === 'int8' ? elementType.i8 : elementType.f32;
    const shape = [1, kvHeads, `capacity of segment ${this.place}`, headSize];
    return cacheKinds.map((kind) => {
      const { past, present } = cellNames(this.layer, kind, this.place);
      graph.input(past, type, shape);
      graph.output(present, type, shape);
      return { name: present, type, shape };
    });
  }

  /** All segments have the same. @returns those that change */
  #addScales(graph: Graph): TensorInfoProto[] {
    const type = elementType.f32;
    const shape = [this.sizes.kvHeads * this.sizes.headSize];
    if (this.place === 0) for (const { past } of this.#scales) graph.input(past, type, shape);
    if (!findsScales(this.form)) return [];
    return this.#scales.map(({ present }) => {
      graph.output(present, type, shape);
      return { name: present, type, shape };
    });
  }

  #attend(graph: Graph, rows: Rows, [attended = '', ...present]: readonly string[]): void {
    const { sizes, form, place } = this;
    const options = {
      heads: sizes.heads,
      kvHeads: sizes.kvHeads,
      place,
      cells: pastOf(this.#cells),
      scales: pastOf(this.#scales),
      ...(form.isMasked ? { mask: stepInput.mask, seesAhead: true } : {}),
    };
    addAttentionNode(graph, rows, options, [attended, ...present.slice(0, 2)]);
    keep(graph, this.#scales, present.slice(2));
  }

  #attendAlone(graph: Graph, [attended = '', ...present]: readonly string[]): void {
    const { sizes, place, form } = this;
    const isDouble = form.doublesLoneRow;
    const row = isDouble ? firstOf(graph, this.rows) : this.rows;
    const single = isDouble ? graph.newName() : attended;
    if (form.spreadsLoneTokens)
      addLoneTokenAttention(graph, sizes, place, pastOf(this.#cells), row, [single, ...present]);
    else this.#attend(graph, row, [single, ...present]);
    if (isDouble) graph.nodeWithOutputs('Concat', [single, single], [attended], { axis: 1 });
  }

  #attendInBlocks(graph: Graph, outputs: readonly string[]): void {
    const { sizes, place, rows } = this;
    const [cells, scales] = [pastOf(this.#cells), pastOf(this.#scales)];
    addBlockAttention(graph, sizes, place, { cells, scales }, rows, outputs);
  }

  /** Attends to the segment's own rows alone, as they are, leaves the cells, and finds scales. */
  #calibrate(graph: Graph, [attended = '', ...present]: readonly string[]): void {
    const { sizes, place, rows } = this;
    addAttentionNode(graph, rows, { ...sizes, place }, [attended, '', '']);
    keep(graph, this.#cells, present.slice(0, 2));
    cacheKinds.forEach((kind, i) => {
      const before = this.#scales[i]?.past ?? '';
      const fitting = addFittingScales(graph, sizes, kind, rows[kind], before);
      graph.nodeWithOutputs('Identity', [fitting], [present[2 + i] ?? '']);
    });
  }

  /** There are no rows, so what comes of the queries is none as well. */
  #leave(graph: Graph, [attended = '', ...present]: readonly string[]): void {
    graph.nodeWithOutputs('Identity', [this.rows.queries], [attended]);
    keep(graph, this.#cells, present);
  }
}

function addFirstWay(
  graph: Graph,
  outputs: readonly TensorInfoProto[],
  [way, ...others]: readonly Way[],
): void {
  if (!way) return;
  if (way.when === undefined) {
    const names = outputs.map(({ name }) => name);
    way.add(graph, names);
  } else
    graph.choose(way.when, outputs, way.add, (branch, names) => {
      const named = outputs.map((output, i) => ({ ...output, name: names[i] ?? '' }));
      addFirstWay(branch, named, others);
    });
}

/** Leaves memory as it was; it is the same that is bound to both. */
function keep(graph: Graph, tensors: readonly PastAndPresent[], present: readonly string[]): void {
  present.forEach((name, i) => graph.nodeWithOutputs('Identity', [tensors[i]?.past ?? ''], [name]));
}

function pastOf(tensors: readonly PastAndPresent[]): string[] {
  return tensors.map(({ past }) => past);
}

function firstOf(graph: Graph, { queries, keys, values }: Rows): Rows {
  const first = (rows: string) => graph.node('Gather', [rows, graph.list([0])], { axis: 1 });
  return { queries: first(queries), keys: first(keys), values: first(values) };
}
