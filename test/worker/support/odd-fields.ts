import protobuf from 'protobufjs';
import type { MessageKind, Messages, StepBody } from '../../../transport/messages/messages.js';
import { loadSchema, messageType } from '../../../transport/messages/schema.js';

const schema = loadSchema().resolveAll();

/** A message one field of which is not as it should be. */
export interface OddMessage {
  /** Which field, and what about it. */
  readonly what: string;
  readonly bytes: Uint8Array;
}

/** The header of a message, odd in every way that there is. */
export function oddHeaders<Kind extends MessageKind>(
  kind: Kind,
  body: Messages[Kind],
): OddMessage[] {
  return oddMessages(schema.lookupType('Envelope'), { [kind]: body });
}

/** The body of a step, likewise. */
export function oddStepBodies(body: StepBody): OddMessage[] {
  return oddMessages(schema.lookupType('StepBody'), body);
}

/** A message of every kind without anything in it, and headers that are no message. */
export function emptyMessages(): OddMessage[] {
  const kinds = schema
    .lookupType('Envelope')
    .fieldsArray.map(({ name, id }) => ({ what: `an empty ${name}`, bytes: emptyMessage(id) }));
  return [
    ...kinds,
    { what: 'an empty header', bytes: nothing },
    { what: 'a message of the future', bytes: emptyMessage(100) },
    { what: 'a header of zeroes', bytes: Buffer.alloc(100) },
    { what: 'a long header', bytes: Buffer.alloc(200_000, 0x7f) },
  ];
}

function emptyMessage(id: number): Uint8Array {
  return tagged(id, wireType.length, varint(0));
}

/** A field within messages, by its name and those of the messages around it. */
type Path = readonly string[];

type Fields = Readonly<Record<string, unknown>>;

function oddMessages(type: protobuf.Type, body: object): OddMessage[] {
  return fieldsWithin(type, body as Fields).flatMap(({ field, path }) =>
    oddFields(field).map(([what, bytes]) => ({
      what: `${path.join('.')}: ${what}`,
      bytes: encode(type, body as Fields, path, bytes),
    })),
  );
}

/** Fields that the message has, or could have where one is there. */
function fieldsWithin(
  type: protobuf.Type,
  body: Fields,
  around: Path = [],
): { field: protobuf.Field; path: Path }[] {
  const isEnvelope = type.name === 'Envelope';
  return type.fieldsArray.flatMap((field) => {
    const path = [...around, field.name];
    const [first] = [body[field.name]].flat();
    const within = messageType(field);
    if (isEnvelope && first === undefined) return [];
    return [
      ...(isEnvelope ? [] : [{ field, path }]),
      ...(within && first ? fieldsWithin(within, first as Fields, path) : []),
    ];
  });
}

/** Encodes as the schema says, but for one field. @param bytes that field with its tag */
function encode(type: protobuf.Type, body: Fields, path: Path, bytes: Uint8Array): Uint8Array {
  const [name, ...rest] = path;
  const parts = type.fieldsArray.map((field) => {
    if (field.name === name && rest.length === 0) return bytes;
    const value = body[field.name];
    if (value === undefined) return nothing;
    const within = messageType(field);
    if (!within) return encodePlain(type, field, value);
    return Buffer.concat(
      [value].flat().map((item, i) => {
        const isOnPath = field.name === name && i === 0;
        const encoded = isOnPath
          ? encode(within, item as Fields, rest, bytes)
          : within.encode(item as Fields).finish();
        return tagged(field.id, wireType.length, Buffer.concat([varint(encoded.length), encoded]));
      }),
    );
  });
  return Buffer.concat(parts);
}

function encodePlain(type: protobuf.Type, field: protobuf.Field, value: unknown): Uint8Array {
  return type.encode({ [field.name]: value }).finish();
}

const nothing = new Uint8Array(0);
const wireType = { varint: 0, fixed64: 1, length: 2, groupStart: 3, fixed32: 5, unknown: 7 };

/** What a field may be like that it should not: all ways to encode it wrongly, and values that make no sense. */
function oddFields(field: protobuf.Field): [string, Uint8Array][] {
  const as = (wire: number, ...bytes: Uint8Array[]) => tagged(field.id, wire, Buffer.concat(bytes));
  const sized = (bytes: Uint8Array) => as(wireType.length, varint(bytes.length), bytes);
  const odd: [string, Uint8Array][] = [
    ['absent', nothing],
    ['a number of 64 bits', as(wireType.varint, varint(2n ** 64n - 1n))],
    ['eight bytes', as(wireType.fixed64, Buffer.alloc(8, 0xff))],
    ['some bytes', sized(Buffer.from('\u0001\u0002x'))],
    ['a group', as(wireType.groupStart)],
    ['of no type', as(wireType.unknown)],
    ['longer than the message', as(wireType.length, varint(2 ** 31))],
  ];
  switch (field.type) {
    case 'uint32':
      for (const value of [0, 1, 1000, 2 ** 31, 2 ** 32 - 1])
        odd.push([String(value), as(wireType.varint, varint(value))]);
      break;
    case 'bool':
      for (const value of [0, 1]) odd.push([String(value), as(wireType.varint, varint(value))]);
      break;
    case 'double':
      for (const value of [0, -1, 0.5, 2 ** 53, 1e300, NaN, -Infinity])
        odd.push([String(value), as(wireType.fixed64, double(value))]);
      break;
    case 'string':
      for (const value of ['', '__proto__', 'a\n\u001b[2J\u0000', '字'.repeat(50_000)])
        odd.push([JSON.stringify(value.slice(0, 12)), sized(Buffer.from(value))]);
      odd.push(['no text', sized(Buffer.of(0xff, 0xfe, 0xc0))]);
      break;
    case 'bytes':
      for (const bytes of [Buffer.alloc(4), Buffer.alloc(8, 0xff), Buffer.alloc(40_000, 0x7f)])
        odd.push([`${bytes.length} bytes of ${bytes[0]}`, sized(bytes)]);
  }
  return odd;
}

function tagged(id: number, wire: number, bytes: Uint8Array): Uint8Array {
  return Buffer.concat([varint((id << 3) | wire), bytes]);
}

function varint(value: number | bigint): Uint8Array {
  const bytes: number[] = [];
  let rest = BigInt(value);
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Uint8Array.of(...bytes, Number(rest));
}

function double(value: number): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return bytes;
}
