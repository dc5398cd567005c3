import type protobuf from 'protobufjs';
import { isOptional, loadSchema, messageType } from './schema.js';
import type { Messages, StepBody } from './types.js';

export type {
  LatencySummary,
  Messages,
  QueueAddress,
  StageReport,
  StepBody,
  StepTimes,
} from './types.js';

export type MessageKind = keyof Messages;

/** One message with its kind; the fields are those of `Messages[kind]`. */
export type Message = { [Kind in MessageKind]: { kind: Kind; body: Messages[Kind] } }[MessageKind];

const schema = loadSchema().resolveAll();
const envelope = schema.lookupType('Envelope');
const stepBody = schema.lookupType('StepBody');

/** Encodes a message as the header of a frame. */
export function encodeMessage<Kind extends MessageKind>(
  kind: Kind,
  body: Messages[Kind],
): Uint8Array {
  return envelope.encode({ [kind]: body }).finish();
}

/** Decodes the header of a frame. Arrays of bytes are views of it. @returns undefined when it is no message */
export function decodeMessage(header: Uint8Array): Message | undefined {
  const decoded = decode(envelope, header);
  const kind = decoded?.['body'] as MessageKind | undefined;
  if (!decoded || !kind) return undefined;
  const body = decoded[kind] as Fields;
  return isComplete(typeOf(kind), body) ? ({ kind, body } as unknown as Message) : undefined;
}

function typeOf(kind: MessageKind): protobuf.Type {
  return messageType(envelope.fields[kind] as protobuf.Field) as protobuf.Type;
}

/** Encodes what the payload of a step begins with. */
export function encodeStepBody(body: StepBody): Uint8Array {
  return stepBody.encode(body).finish();
}

/** Decodes it. Arrays are views of the bytes. @returns undefined when they are no body of a step */
export function decodeStepBody(bytes: Uint8Array): StepBody | undefined {
  const body = decode(stepBody, bytes);
  return body && isComplete(stepBody, body) ? (body as unknown as StepBody) : undefined;
}

type Fields = Record<string, unknown>;

function decode(type: protobuf.Type, bytes: Uint8Array): Fields | undefined {
  try {
    return type.decode(bytes);
  } catch {
    // What protobufjs has to say about it does not help whoever reads the log.
    return undefined;
  }
}

/**
 * Whether nothing is absent that must be there: messages within, unless they are optional. All else that did not travel
 * has its default value, which becomes a property of the message itself, so that it survives copying.
 */
function isComplete(type: protobuf.Type, message: Fields): boolean {
  return type.fieldsArray.every((field) => {
    const value = message[field.name];
    const within = messageType(field);
    if (within && field.repeated)
      return (value as Fields[]).every((each) => isComplete(within, each));
    if (within && value) return isComplete(within, value as Fields);
    if (within) message[field.name] = undefined;
    else message[field.name] = field.bytes && !(value instanceof Uint8Array) ? noBytes : value;
    return !within || isOptional(field);
  });
}

const noBytes = new Uint8Array(0);
