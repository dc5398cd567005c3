import { z } from 'zod';
import { kvTypes, type KvType } from '../engine/engine.js';
import { tensorBytes, tensorTypes } from '../model/gguf/tensor-types.js';
import type { MetadataValue } from '../model/tensor-source.js';
import type { NextStage } from '../stage/outgoing-link.js';
import type { KeyedPage } from '../step/pages.js';
import type { Shard } from '../step/shard.js';
import type { Messages } from '../transport/messages/messages.js';
import { transportChoices } from '../transport/protocol/open-channel.js';
import { splitKeys } from '../transport/protocol/page-keys.js';
import { codecChoices } from '../transport/wire/codecs/codecs.js';
import { queueKinds } from '../transport/wire/rdma/queue-pair.js';
import { WorkerError } from './errors.js';
import type { HashedTensor } from './tensor-cache.js';

/** A LoadShard message that makes sense in itself; whether it does for the model is for the model's family to say. */
export interface LoadRequest {
  readonly stage: number;
  readonly shard: Shard;
  readonly modelFingerprint: string;
  /** Both empty for a worker that holds the model file. */
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  readonly tensors: readonly HashedTensor[];
  readonly cells: number;
  readonly conversations: number;
  readonly states: number;
  readonly kvType: KvType;
  readonly maxStepRows: number;
  readonly countsRoutings: boolean;
}

export interface LinkRequest {
  readonly stage: number;
  readonly epoch: number;
  readonly next?: NextStage | undefined;
}

/** Pages and their keys, of steps of an epoch. */
export interface PagesRequest {
  readonly request: number;
  readonly stage: number;
  readonly epoch: number;
  readonly pages: readonly KeyedPage[];
}

const mostLayers = 10_000;
const mostTensors = 200_000;
const mostStepRows = 1 << 16;
const mostStates = 1 << 16;
const mostInt32 = 2 ** 31 - 1;

const uint32 = z.int().min(0).max(0xffff_ffff);

const milliseconds = z.number().min(0);

const shard = z
  .object({
    firstLayer: z.int().min(0).max(mostLayers),
    endLayer: z.int().min(0).max(mostLayers),
    embedding: z.boolean(),
    head: z.boolean(),
  })
  .refine(({ firstLayer, endLayer }) => firstLayer < endLayer, 'has no layers');

const metadataValue: z.ZodType<MetadataValue> = z.lazy(() =>
  z.union([z.number(), z.boolean(), z.string(), z.array(metadataValue)]),
);

const metadata = z
  .string()
  .transform((text, context): unknown => {
    try {
      return text === '' ? [] : JSON.parse(text);
    } catch {
      context.addIssue('is no JSON');
      return z.NEVER;
    }
  })
  .pipe(z.array(z.tuple([z.string(), metadataValue])))
  .transform((pairs) => new Map(pairs));

const tensor = z
  .object({
    name: z.string().regex(/^[\w.-]{1,63}$/, 'is no name of a tensor'),
    type: z.int().refine((id) => tensorTypes.has(id), 'is no type that ggml knows'),
    shape: z
      .array(
        z
          .int()
          .min(1)
          .max(2 ** 40),
      )
      .min(1)
      .max(4),
    bytes: z.int(),
    sha256: z.string().regex(/^[0-9a-f]{64}$/, 'is no SHA-256'),
  })
  .transform(({ type, ...rest }, context): HashedTensor => {
    const known = tensorTypes.get(type);
    if (!known) return z.NEVER;
    const [columns = 0] = rest.shape;
    if (columns % known.blockSize !== 0 || tensorBytes(known, rest.shape) !== rest.bytes)
      context.addIssue(`has ${rest.bytes} bytes, which its shape and type do not give`);
    return { ...rest, type: known };
  });

const loadShard = z
  .object({
    stage: uint32,
    shard,
    modelFingerprint: z.string().min(1).max(256),
    metadata,
    tensors: z
      .array(tensor)
      .max(mostTensors)
      .refine(
        (tensors) => new Set(tensors.map(({ name }) => name)).size === tensors.length,
        'name one twice',
      ),
    cells: z.int().min(1).max(mostInt32),
    conversations: z.int().min(1).max(mostInt32),
    states: z.int().min(1).max(mostStates),
    kvType: z.enum(kvTypes),
    maxStepRows: z.int().min(1).max(mostStepRows),
    countsRoutings: z.boolean(),
  })
  .refine(
    ({ cells, conversations }) => cells % conversations === 0,
    'the cells cannot be shared in equal parts',
  );

const nextStage = z
  .object({
    host: z.string().min(1).max(253),
    port: z.int().min(1).max(0xffff),
    stage: uint32,
    codec: z.enum(codecChoices),
    transport: z.enum(transportChoices),
    rdmaQueue: z.union([z.enum(queueKinds), z.literal('')]),
    expected: z.object({ decodeMs: milliseconds, promptRowMs: milliseconds }).optional(),
  })
  .transform(({ rdmaQueue, expected, ...rest }) => ({
    ...rest,
    ...(rdmaQueue === '' ? {} : { rdmaQueue }),
    ...(expected ? { expected } : {}),
  }));

const link = z.object({ stage: uint32, epoch: uint32, next: nextStage.optional() });

const keys = z.instanceof(Uint8Array).transform((bytes, context) => {
  const split = splitKeys(bytes);
  if (split) return split;
  context.addIssue('are no keys, or too many');
  return z.NEVER;
});

const pages = z
  .object({ request: uint32, stage: uint32, epoch: uint32, keys, pages: z.array(uint32) })
  .refine((message) => message.keys.length === message.pages.length, 'has not a key for every page')
  .transform(({ keys, pages, ...rest }): PagesRequest => ({
    ...rest,
    pages: pages.map((page, i) => ({ page, key: keys[i] as string })),
  }));

const knownPages = z.object({ request: uint32, stage: uint32, keys });

/** @throws WorkerError 'message' that names what makes no sense */
export function readLoadShard(body: Messages['loadShard']): LoadRequest {
  return read(loadShard, body, 'a request to load a shard');
}

/** @throws WorkerError 'message' that names what makes no sense */
export function readLink(body: Messages['link']): LinkRequest {
  return read(link, body, 'a request to link a stage');
}

/** @throws WorkerError 'message' that names what makes no sense */
export function readRestorePages(body: Messages['restorePages']): PagesRequest {
  return read(pages, body, 'a request for pages');
}

/** @throws WorkerError 'message' that names what makes no sense */
export function readKnownPages(body: Messages['knownPages']): z.output<typeof knownPages> {
  return read(knownPages, body, 'a request for pages');
}

function read<Output>(schema: z.ZodType<Output>, body: unknown, what: string): Output {
  const result = parse(schema, body, what);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const where = issue?.path.length ? `${issue.path.map(String).join('.')}: ` : '';
  throw new WorkerError('message', `${what} makes no sense: ${where}${issue?.message}`, {
    cause: result.error,
  });
}

/** JSON can be nested deeper than the stack. */
function parse<Output>(schema: z.ZodType<Output>, body: unknown, what: string) {
  try {
    return schema.safeParse(body);
  } catch (error) {
    throw new WorkerError('message', `${what} is nested too deep`, { cause: error });
  }
}
