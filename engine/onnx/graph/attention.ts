import type { Hyperparameters } from '../../../model/architectures/hyperparameters.js';
import { elementType } from '../bindings.js';
import type { KvStorage } from '../kv-type.js';
import { addAttentionNode, type Rows } from './attention-node.js';
import type { Graph } from './graph.js';
import { cacheKinds, cacheNames, namesOf } from './kv-names.js';
import { addFittingScales } from './kv-scales.js';
import { addLoneTokenAttention } from './lone-token-attention.js';
import type { TensorInfoProto } from './model-proto.js';
import { stepInput } from './step-input.js';

/**
 * What tokens see: all cells up to their own, or what a mask says. In invariant graphs they see all cells, too, and get
 * the same bits in a batch of any size: for one row of queries ONNX Runtime has another kernel than for several, which
 * rounds differently, so that checking a draft could give another token than decoding does. A token that is alone is
 * therefore computed as several rows. To int8 it attends in the same way whatever the rows.
 */
export type AttentionKind = 'plain' | 'invariant' | 'masked';

/** How a graph attends. */
export interface AttentionForm {
  readonly kind: AttentionKind;
  readonly storage: KvStorage;
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
    const { sizes, form, layer } = this;
    const attended = {
      name: graph.newName(),
      type: elementType.f32,
      shape: [1, 'n', sizes.heads * sizes.headSize],
    };
    const outputs = [attended, ...this.#addCache(graph)];
    if (form.storage === 'int8')
      graph.choose(
        stepInput.calibrates,
        outputs,
        (branch) => this.#calibrate(branch, rows),
        (branch) => [
          ...this.#attend(branch, rows),
          ...namesOf(layer, 'pastScales').map((scales) => branch.node('Identity', [scales])),
        ],
      );
    else if (form.kind === 'invariant')
      graph.choose(
        stepInput.isAlone,
        outputs,
        (branch) => addLoneTokenAttention(branch, sizes, layer, rows),
        (branch) => this.#attend(branch, rows),
      );
    else {
      const names = outputs.map(({ name }) => name);
      this.#attend(graph, rows, names);
    }
    return attended.name;
  }

  /** Adds inputs and outputs. @returns the outputs: keys, values, and their scales where they have any */
  #addCache(graph: Graph): TensorInfoProto[] {
    const { sizes, form, layer } = this;
    const { i8, f32 } = elementType;
    const shape = [1, sizes.kvHeads, 'capacity', sizes.headSize];
    const add = (what: 'Scales' | '', info: Omit<TensorInfoProto, 'name'>) => {
      for (const name of namesOf(layer, `past${what}`)) graph.input(name, info.type, info.shape);
      const present = namesOf(layer, `present${what}`).map((name) => ({ name, ...info }));
      for (const { name } of present) graph.output(name, info.type, info.shape);
      return present;
    };
    if (form.storage === 'f32') return add('', { type: f32, shape });
    return [
      ...add('', { type: i8, shape }),
      ...add('Scales', { type: f32, shape: [sizes.kvHeads * sizes.headSize] }),
    ];
  }

  #attend(graph: Graph, rows: Rows, outputs?: readonly string[]): readonly string[] {
    const { sizes, form, layer } = this;
    const options = {
      heads: sizes.heads,
      kvHeads: sizes.kvHeads,
      layer,
      isInt8: form.storage === 'int8',
      ...(form.kind === 'masked' ? { mask: stepInput.mask, seesAhead: true } : {}),
    };
    return addAttentionNode(graph, rows, options, outputs);
  }

  /** Attends to the step's own tokens alone, as they are, leaves the cells, and finds scales. */
  #calibrate(graph: Graph, rows: Rows): string[] {
    const { sizes, layer } = this;
    const [attended = ''] = addAttentionNode(graph, rows, sizes);
    const scales = cacheKinds.map((kind) => {
      const { pastScales } = cacheNames(layer, kind);
      return addFittingScales(graph, sizes, kind, rows[kind], pastScales);
    });
    const cells = namesOf(layer, 'past').map((name) => graph.node('Identity', [name]));
    return [attended, ...cells, ...scales];
  }
}
