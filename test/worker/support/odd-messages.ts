import { greedy } from '../../../step/sampling.js';
import type { Segment, Step } from '../../../step/step.js';
import type { Messages } from '../../../transport/messages/messages.js';
import { segmentOf } from '../../stage/support/segments.js';

/** Something odd: where, and the message with it. */
export type Odd<Body> = readonly [string, Body];

type LoadShard = Messages['loadShard'];
type Link = Messages['link'];

const oddNumbers = [-1, 0, 0.5, NaN, Infinity, 1e6, 2 ** 31, 2 ** 32 - 1, 2 ** 53, 1e300];
const oddStrings = ['', '__proto__', 'constructor', '\0', '\u001b[2J', 'x'.repeat(100_000)];
const oddShapes = [[], [0], [-32, 128], [32, 1], [2 ** 40, 2 ** 40], new Array(1000).fill(1)];
const oddTypes = [1, 4, 9, 15, 26, 28, 99, 2 ** 32 - 1];
const oddMetadata = [-1, 0, 0.5, 1e6, 2 ** 32 - 1, 1e300, null, true, 'x', [], [1, 2], {}];

/** A body with each of some odd values in each of some fields. */
function odd<Body extends object>(
  body: Body,
  names: readonly (keyof Body & string)[],
  values: readonly unknown[],
): Odd<Body>[] {
  return names.flatMap((name) =>
    values.map((value): Odd<Body> => {
      const shown = String(value).slice(0, 20);
      return [`${name} = ${shown}`, { ...body, [name]: value }];
    }),
  );
}

/** Odd parts, each in its place within something larger. */
function within<Part, Body>(
  parts: readonly Odd<Part>[],
  where: string,
  place: (part: Part) => Body,
): Odd<Body>[] {
  return parts.map(([what, part]) => [`${where} ${what}`, place(part)]);
}

/** Of a shard with all its tensors, of a family that is called `family` in its metadata. */
export function oddLoads(message: LoadShard, family: string): Odd<LoadShard>[] {
  const { shard } = message;
  return [
    ...odd(message, ['cells', 'conversations', 'maxStepRows'], oddNumbers),
    ...odd(message, ['kvType', 'modelFingerprint', 'metadata'], oddStrings),
    ...within(
      [
        ...odd(shard, ['firstLayer', 'endLayer'], [1, 2, ...oddNumbers]),
        ...odd(shard, ['embedding', 'head'], [false]),
      ],
      'shard',
      (changed) => ({ ...message, shard: changed }),
    ),
    ...oddTensors(message),
    ...oddPairs(message, family),
  ];
}

function oddTensors(message: LoadShard): Odd<LoadShard>[] {
  const { tensors } = message;
  return tensors.flatMap((tensor, i) => {
    // The layers are alike.
    if (/^blk\.[^0]/.test(tensor.name)) return [];
    const values = tensor.shape.reduce((product, size) => product * size, 1);
    const changes = [
      ...odd(tensor, ['name', 'sha256'], oddStrings.slice(0, 5)),
      ...odd(tensor, ['bytes'], oddNumbers),
      ...odd(tensor, ['type'], oddTypes),
      ...odd(tensor, ['shape'], oddShapes),
      ...odd({ ...tensor, type: 0 }, ['bytes'], [4 * values]),
      ...odd({ ...tensor, type: 28 }, ['bytes'], [8 * values]),
    ];
    return [
      ...within(changes, tensor.name, (changed) => ({
        ...message,
        tensors: tensors.with(i, changed),
      })),
      [`${tensor.name} absent`, { ...message, tensors: tensors.toSpliced(i, 1) }],
      [`${tensor.name} twice`, { ...message, tensors: [...tensors, tensor] }],
    ] satisfies Odd<LoadShard>[];
  });
}

function oddPairs(message: LoadShard, family: string): Odd<LoadShard>[] {
  const pairs = JSON.parse(message.metadata) as [string, unknown][];
  const withPairs = (changed: [string, unknown][]) => ({
    ...message,
    metadata: JSON.stringify(changed),
  });
  return pairs.flatMap(([key], i) => {
    if (!key.startsWith(`${family}.`) && key !== 'general.architecture') return [];
    const changes = oddMetadata.map((value): Odd<LoadShard> => [
      `${key} = ${JSON.stringify(value)}`,
      withPairs(pairs.with(i, [key, value])),
    ]);
    return [
      ...changes,
      [`${key} absent`, withPairs(pairs.toSpliced(i, 1))],
    ] satisfies Odd<LoadShard>[];
  });
}

export function oddLinks(link: Link & Required<Pick<Link, 'next'>>): Odd<Link>[] {
  const { next } = link;
  const nexts = [
    ...odd(next, ['port', 'stage'], oddNumbers),
    ...odd(next, ['host', 'codec', 'transport', 'rdmaQueue'], oddStrings),
    ...odd(
      next,
      ['expected'],
      [-1, NaN, Infinity].map((decodeMs) => ({ decodeMs, promptRowMs: 1 })),
    ),
  ];
  return [
    ...odd<Link>(link, ['stage'], oddNumbers),
    ...within(nexts, 'next', (changed): Link => ({ ...link, next: changed })),
  ];
}

/** Of a segment of two rows. */
export function oddSteps(good: Segment, maxStepRows: number): Odd<Step>[] {
  const { visible } = good;
  const arrays = [[], [-1, 0], [2 ** 31 - 1, 0], [-(2 ** 31), 0], [0, 0, 0], [300, 256]];
  const ranges = [...arrays, [0, 300, 0, 2], [5, 1, 0, 2], [-1, 1, 0, 2], [64, 65, 64, 66]];
  const int32 = (values: readonly number[][]) => values.map((each) => Int32Array.from(each));
  const wants = [[], [255, 255], [23, 1]].map((each) => Uint8Array.from(each));
  const samplings = odd(
    { ...greedy, temperature: 1 },
    ['temperature', 'topK', 'typicalP', 'topP', 'minP', 'repetitionPenalty', 'seed'],
    oddNumbers,
  );
  const visibles = [
    ...odd(visible, ['windowStart', 'windowLength'], oddNumbers),
    ...odd(visible, ['counts'], int32(arrays)),
    ...odd(visible, ['ranges'], int32(ranges)),
  ];
  const segments = [
    ...odd(good, ['tokens', 'positions', 'cells', 'recentTokens'], int32(arrays)),
    ...odd(good, ['sequence', 'follows'], oddNumbers),
    ...odd(good, ['want'], wants),
    ...within(samplings, 'sampling', (sampling): Segment => ({ ...good, sampling })),
    ...within(visibles, 'visible', (changed): Segment => ({ ...good, visible: changed })),
  ];
  const step: Step = { id: 1, epoch: 1, segments: [good] };
  const other = { ...good, sequence: good.sequence + 1 };
  const long = segmentOf(new Array<number>(maxStepRows + 1).fill(1), 0, 1);
  return [
    ...segments.map(([what, segment], i): Odd<Step> => [
      what,
      { ...step, id: i + 1, segments: [segment] },
    ]),
    ...odd(step, ['id'], oddNumbers),
    ['no segment', { ...step, segments: [] }],
    ['two segments of one sequence', { ...step, segments: [good, good] }],
    ['the same cells twice', { ...step, segments: [good, other] }],
    ['calibrates by two segments', { ...step, segments: [good, other], calibratesKv: true }],
    ['too many rows', { ...step, segments: [long] }],
  ];
}
