import { beforeAll, describe, expect, test } from 'vitest';
import type { Messages } from '../../transport/messages/messages.js';
import { readLink, readLoadShard } from '../../worker/requests.js';
import { tinyModel } from '../support/tiny-model.js';
import { describedShardMessage } from './support/coordinator.js';
import { TestWorker } from './support/worker.js';

const model = tinyModel('q8_0');
const shard = { firstLayer: 1, endLayer: 2, embedding: false, head: false };
let message: Messages['loadShard'];
beforeAll(async () => {
  message = await describedShardMessage(model, shard);
});

const link: Messages['link'] = {
  stage: 1,
  epoch: 2,
  next: { host: 'h', port: 7070, stage: 3, codec: 'fp8', transport: 'auto', rdmaQueue: '' },
};

/** A number that a field of 0 to 2^32 - 1, or a double, can carry and that makes no sense there. */
const oddNumbers = [-1, 0.5, NaN, Infinity, -Infinity, 1e300, 2 ** 53];
const oddNames = [
  '',
  '__proto__',
  'constructor',
  'toString',
  'F16',
  'f16 ',
  '\u0000',
  'x'.repeat(300),
];

type Change = readonly [string, object];
const each = (path: string, values: readonly unknown[], change: (value: unknown) => object) =>
  values.map((value): Change => [`${path}: ${String(value)}`, change(value)]);

const loadChanges: readonly Change[] = [
  ...each('stage', [-1, 0.5, NaN, 2 ** 32], (stage) => ({ stage })),
  ...each('cells', [0, 2 ** 31, ...oddNumbers], (cells) => ({ cells })),
  ...each('conversations', [0, 3, 257, ...oddNumbers], (conversations) => ({ conversations })),
  ...each('states', [0, 2 ** 17, ...oddNumbers], (states) => ({ states })),
  ...each('maxStepRows', [0, 2 ** 17, ...oddNumbers], (maxStepRows) => ({ maxStepRows })),
  ...each('kvType', oddNames, (kvType) => ({ kvType })),
  ...each('modelFingerprint', ['', 'x'.repeat(300)], (modelFingerprint) => ({ modelFingerprint })),
  ...each('firstLayer', [2, 3, ...oddNumbers], (firstLayer) => ({
    shard: { ...shard, firstLayer },
  })),
  ...each('endLayer', [0, 1, 1e6, ...oddNumbers], (endLayer) => ({
    shard: { ...shard, endLayer },
  })),
  ...each('shard', [undefined, null, {}, 7], (value) => ({ shard: value })),
  ...each(
    'metadata',
    ['{', '7', '{"a":1}', '[["a"]]', '[[1,2]]', '[["a",null]]', '[["a",1e999]]', '[["a",{}]]', 'x'],
    (metadata) => ({ metadata }),
  ),
  ['metadata: nested', { metadata: `[["a",${'['.repeat(1e5)}${']'.repeat(1e5)}]]` }],
];

const tensorChanges: readonly Change[] = [
  ...each('name', ['', 'a b', '\u001b[2J', 'x'.repeat(65), '../../etc/passwd'], (name) => ({
    name,
  })),
  ...each('type', [4, 31, 99, ...oddNumbers], (type) => ({ type })),
  ...each('bytes', [0, 1, 2 ** 40, ...oddNumbers], (bytes) => ({ bytes })),
  ...each('sha256', ['', 'abc', 'G'.repeat(64), `../${'a'.repeat(61)}`], (sha256) => ({ sha256 })),
  ...each('shape', [[], [1], [0, 128], [-128, -128], [1e9, 1e9, 1e9, 1e9]], (shape) => ({ shape })),
  ['shape: of 1,000 dimensions', { shape: new Array<number>(1000).fill(1) }],
  ...each('shape of', oddNumbers, (size) => ({ shape: [128, size] })),
  ['shape and type: parts of blocks', { type: 8, shape: [16, 2], bytes: 34 }],
];

const linkChanges: readonly Change[] = [
  ...each('stage', [-1, 2 ** 32, NaN], (stage) => ({ stage })),
  ...each('epoch', [-1, 2 ** 32, NaN], (epoch) => ({ epoch })),
];

const nextChanges: readonly Change[] = [
  ...each('host', ['', 'x'.repeat(254)], (host) => ({ host })),
  ...each('port', [0, 65_536, ...oddNumbers], (port) => ({ port })),
  ...each('stage', [-1, 2 ** 32, NaN], (stage) => ({ stage })),
  ...each('codec', oddNames, (codec) => ({ codec })),
  ...each('transport', oddNames, (transport) => ({ transport })),
  ...each('rdmaQueue', oddNames.slice(1), (rdmaQueue) => ({ rdmaQueue })),
  ...each('decodeMs', [-1, NaN, Infinity], (decodeMs) => ({
    expected: { decodeMs, promptRowMs: 1 },
  })),
];

const refusal = { name: 'WorkerError', code: 'message' };

function refused(read: () => unknown): Error {
  try {
    read();
  } catch (error) {
    expect(error).toMatchObject(refusal);
    const { message: text } = error as Error;
    expect(text).not.toContain('\n');
    expect(text.length).toBeLessThan(400);
    return error as Error;
  }
  throw new Error('not refused');
}

describe('a request to load a shard', () => {
  test('is read as it is meant', () => {
    const { tensors, metadata, ...rest } = readLoadShard(message);
    expect(rest).toEqual({
      stage: 1,
      shard,
      modelFingerprint: model.fingerprint,
      cells: 256,
      conversations: 1,
      states: 1,
      kvType: 'f16',
      maxStepRows: 16,
      countsRoutings: false,
    });
    expect(metadata).toEqual(model.metadata);
    for (const { sha256, ...tensor } of tensors) {
      expect(sha256).toMatch(/^[0-9a-f]{64}$/);
      expect(tensor).toEqual(model.tensors.get(tensor.name));
    }
  });

  test.each(loadChanges)('is refused with an odd %s', (_, change) => {
    refused(() => readLoadShard({ ...message, ...change }));
  });

  test.each(tensorChanges)('is refused with a tensor of an odd %s', (_, change) => {
    const [first, ...others] = message.tensors;
    const tensors = [{ ...first, ...change }, ...others] as typeof message.tensors;
    refused(() => readLoadShard({ ...message, tensors }));
  });

  test('is refused with the same tensor twice, and says what makes no sense', () => {
    const tensors = [...message.tensors, ...message.tensors.slice(0, 1)];
    expect(refused(() => readLoadShard({ ...message, tensors })).message).toBe(
      'a request to load a shard makes no sense: tensors: name one twice',
    );
  });
});

describe('a request to link a stage', () => {
  test('is read as it is meant', () => {
    const next = { host: 'h', port: 7070, stage: 3, codec: 'fp8', transport: 'auto' };
    expect(readLink(link)).toEqual({ stage: 1, epoch: 2, next });
    expect(readLink({ stage: 1, epoch: 2 })).toEqual({ stage: 1, epoch: 2 });
  });

  test.each(linkChanges)('is refused with an odd %s', (_, change) => {
    refused(() => readLink({ ...link, ...change }));
  });

  test.each(nextChanges)('is refused with a next stage of an odd %s', (_, change) => {
    refused(() => readLink({ ...link, next: { ...link.next, ...change } } as typeof link));
  });
});

describe('a worker', () => {
  test('refuses such a request in one line, and goes on', async () => {
    await using worker = await TestWorker.start();
    const coordinator = await worker.connect();
    const odd = { ...message, kvType: '__proto__', tensors: message.tensors.slice(1) };
    coordinator.send('loadShard', odd);
    expect(await coordinator.next('failed')).toMatchObject({ stage: 1, code: 'load' });
    coordinator.send('loadShard', { ...odd, kvType: 'f16' });
    const { message: lacking } = await coordinator.next('failed');
    expect(lacking).toMatch(/^the model has no tensor blk\.1\./);
    await coordinator.load(message, model);
    coordinator.send('link', {
      ...link,
      next: { ...link.next, codec: '__proto__' },
    } as typeof link);
    expect(await coordinator.next('failed')).toMatchObject({ stage: 1, code: 'link' });
    expect(worker.engine.loads).toBe(1);
  });
});
