import type { Hyperparameters } from '../../../model/architectures/hyperparameters.js';
import { elementType } from '../bindings.js';
import type { KvStorage } from '../kv-type.js';
import type { Graph } from './graph.js';
import { cacheKinds, cacheNames, type CacheKind } from './kv-names.js';
import { addFittingScales } from './kv-scales.js';
import { microsoft, type TensorInfoProto } from './model-proto.js';
import { stepInput } from './step-input.js';

/**
 * What tokens see: all cells up to their own, or what a mask says. In invariant graphs they see all cells, too, and get
 * the same bits in a batch of any size: for one row of queries ONNX Runtime has another kernel than for several, which
 * rounds differently, so that checking a draft could give another token than decoding does. A token that is alone is
 * therefore computed as several rows.
 */
export type AttentionKind = 'plain' | 'invariant' | 'masked';

/** How a graph attends. */
export interface AttentionForm {
  readonly kind: AttentionKind;
  readonly storage: KvStorage;
}

/** Names of queries, keys and values: f32 [1, n, heads · headSize] each. */
export interface Rows {
  readonly queries: string;
  readonly keys: string;
  readonly values: string;
}

const int8Attributes = {
  k_quant_type: 'PER_CHANNEL',
  v_quant_type: 'PER_CHANNEL',
  kv_cache_bit_width: 8,
} as const;

/** Makes a score vanish. Finite, so that a token that sees nothing does not become NaN. */
export const hides = -3e38;

/** Name of a mask, f32 [1, 1, rows, cells]: hides the cells that a token takes along when it is alone. */
const hidesNext = 'hides next cells';

/** The rows of a token that is alone: heads that share keys sit on a row each, and there are two at least. */
export function rowsOfLoneToken({ heads, kvHeads }: Pick<Hyperparameters, 'heads' | 'kvHeads'>) {
  return Math.max(2, heads / kvHeads);
}

/** Adds what all layers of an invariant graph refer to. */
export function addInvariantInputs(graph: Graph, sizes: Hyperparameters): void {
  const { bool, f32, i64 } = elementType;
  const rows = rowsOfLoneToken(sizes);
  graph.input(stepInput.isAlone, bool, [1]);
  graph.input(stepInput.nextCells, i64, [rows - 1]);
  graph.input(stepInput.maskPadding, i64, [8]);
  const values = new Float32Array(rows * (rows - 1)).fill(hides);
  const last = graph.constant('last columns', f32, [1, 1, rows, rows - 1], values);
  graph.nodeWithOutputs('Pad', [last, stepInput.maskPadding], [hidesNext]);
}

/** Writes the attention of one layer as nodes. */
export class Attention {
  constructor(
    private readonly sizes: Hyperparameters,
    private readonly form: AttentionForm,
    private readonly layer: number,
  ) {}

  /** @returns f32 [1, n, heads · headSize] */
  addTo(graph: Graph, rows: Rows): string {
    const { sizes, form } = this;
    const attended = {
      name: graph.newName(),
      type: elementType.f32,
      shape: [1, 'n', sizes.heads * sizes.headSize],
    };
    const outputs = [attended, ...this.#addCache(graph)];
    const mask = form.kind === 'masked' ? stepInput.mask : undefined;
    if (form.storage === 'int8')
      graph.choose(
        stepInput.calibrates,
        outputs,
        (branch) => this.#calibrate(branch, rows),
        (branch) => [
          ...this.#attend(branch, rows, sizes.heads, mask),
          ...this.#names('pastScales').map((scales) => branch.node('Identity', [scales])),
        ],
      );
    else if (form.kind === 'invariant')
      graph.choose(
        stepInput.isAlone,
        outputs,
        (branch) => this.#alone(branch, rows),
        (branch) => this.#attend(branch, rows, sizes.heads),
      );
    else {
      const names = outputs.map(({ name }) => name);
      this.#attend(graph, rows, sizes.heads, mask, names);
    }
    return attended.name;
  }

  /** Names of one thing of keys and values. */
  #names(what: keyof ReturnType<typeof cacheNames>): string[] {
    return cacheKinds.map((kind) => cacheNames(this.layer, kind)[what]);
  }

  /** Adds inputs and outputs. @returns the outputs: keys, values, and their scales where they have any */
  #addCache(graph: Graph): TensorInfoProto[] {
    const { kvHeads, headSize } = this.sizes;
    const isInt8 = this.form.storage === 'int8';
    const add = (
      past: readonly string[],
      present: readonly string[],
      info: Omit<TensorInfoProto, 'name'>,
    ) => {
      for (const name of past) graph.input(name, info.type, info.shape);
      for (const name of present) graph.output(name, info.type, info.shape);
      return present.map((name) => ({ name, ...info }));
    };
    const cells = {
      type: elementType[isInt8 ? 'i8' : 'f32'],
      shape: [1, kvHeads, 'capacity', headSize],
    };
    const scales = { type: elementType.f32, shape: [kvHeads * headSize] };
    return [
      ...add(this.#names('past'), this.#names('present'), cells),
      ...(isInt8 ? add(this.#names('pastScales'), this.#names('presentScales'), scales) : []),
    ];
  }

  /** Attends to the step's own tokens alone, as they are, leaves the cells, and finds scales. */
  #calibrate(graph: Graph, { queries, keys, values }: Rows): string[] {
    const attended = graph.newName();
    graph.nodeWithOutputs(
      'GroupQueryAttention',
      [queries, keys, values, '', '', stepInput.lastCell, stepInput.cells],
      [attended, graph.newName(), graph.newName()],
      { num_heads: this.sizes.heads, kv_num_heads: this.sizes.kvHeads },
      microsoft,
    );
    const rows = { keys, values };
    return [
      attended,
      ...this.#names('past').map((cells) => graph.node('Identity', [cells])),
      ...cacheKinds.map((kind) =>
        addFittingScales(
          graph,
          this.sizes,
          kind,
          rows[kind],
          cacheNames(this.layer, kind).pastScales,
        ),
      ),
    ];
  }

  /**
   * One token as several rows, which is less work as well: keys and values are rearranged for every head, so a head of
   * queries per head of keys is enough. Keys and values must have as many rows: the cells behind the token's own are
   * written as they are, and hidden.
   */
  #alone(graph: Graph, { queries, keys, values }: Rows): string[] {
    const { heads, kvHeads, headSize } = this.sizes;
    const group = heads / kvHeads;
    const reshape = (x: string, ...shape: number[]) =>
      graph.node('Reshape', [x, graph.list(shape)]);
    const swap = (x: string) => graph.node('Transpose', [x], { perm: [0, 2, 1, 3] });
    const withNext = (x: string, kind: CacheKind) => {
      const { past } = cacheNames(this.layer, kind);
      const cells = graph.node('Gather', [past, stepInput.nextCells], { axis: 2 });
      // A single cell's heads follow each other as they are.
      const rows = group > 2 ? swap(cells) : cells;
      return graph.node('Concat', [x, reshape(rows, 1, -1, kvHeads * headSize)], { axis: 1 });
    };
    const split =
      group === 1
        ? graph.node('Concat', [queries, queries], { axis: 1 })
        : reshape(
            swap(reshape(queries, 1, kvHeads, group, headSize)),
            1,
            group,
            kvHeads * headSize,
          );
    const rows = {
      queries: split,
      keys: withNext(keys, 'keys'),
      values: withNext(values, 'values'),
    };
    const [attended = '', ...present] = this.#attend(graph, rows, kvHeads, hidesNext);
    const joined =
      group === 1
        ? graph.node('Gather', [attended, graph.list([0])], { axis: 1 })
        : reshape(swap(reshape(attended, 1, group, kvHeads, headSize)), 1, 1, heads * headSize);
    return [joined, ...present];
  }

  /**
   * @param heads of queries in a row
   * @param mask f32 [1, 1, n, cells] that is added to scores
   * @returns `outputs`: what was attended to, and present keys and values
   */
  #attend(
    graph: Graph,
    { queries, keys, values }: Rows,
    heads: number,
    mask?: string,
    outputs = [graph.newName(), graph.newName(), graph.newName()],
  ): string[] {
    const { kind, storage } = this.form;
    const inputs = [queries, keys, values, ...this.#names('past')];
    // Rotation is done already, so there are no tables and positions; nor are there sinks behind the mask.
    inputs.push(stepInput.lastCell, stepInput.cells, '', '', '', mask ?? '', '');
    if (storage === 'int8') inputs.push(...this.#names('pastScales'));
    graph.nodeWithOutputs(
      'GroupQueryAttention',
      inputs,
      outputs,
      {
        num_heads: heads,
        kv_num_heads: this.sizes.kvHeads,
        ...(kind === 'masked' ? { causal: 0 } : {}),
        ...(storage === 'int8' ? int8Attributes : {}),
      },
      microsoft,
    );
    return outputs;
  }
}
