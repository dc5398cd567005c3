import fs from 'node:fs';
import type protobuf from 'protobufjs';
import { isOptional, loadSchema, messageType, sourcePath } from './schema.js';

/** Where the generated types are kept. */
export const typesPath = sourcePath('types.ts');

const scalars: Readonly<Record<string, string>> = {
  string: 'string',
  bytes: 'Uint8Array',
  bool: 'boolean',
  uint32: 'number',
  float: 'number',
  double: 'number',
};

/** TypeScript for all messages of the schema, and `Messages`: those that can be the header of a frame, by their kind. */
export function generateTypes(): string {
  const { nestedArray } = loadSchema().resolveAll().get('daisychain') as protobuf.Namespace;
  const [envelope, ...messages] = nestedArray as protobuf.Type[];
  if (!envelope) throw new Error('the schema has no messages');
  return [
    '// Generated from daisychain.proto by "npm run generate"; change that file instead.\n',
    interfaceOf(envelope, 'Messages', () => ''),
    ...messages.map((type) => interfaceOf(type, type.name, mark)),
  ].join('\n');
}

function interfaceOf(
  type: protobuf.Type,
  name: string,
  markOf: (field: protobuf.Field) => string,
): string {
  const fields = type.fieldsArray.map(
    (field) =>
      `${commentOf(field, '  ')}  readonly ${field.name}${markOf(field)}: ${typeOf(field)};\n`,
  );
  const declared =
    fields.length > 0
      ? `export interface ${name} {\n${fields.join('')}}`
      : `export type ${name} = Record<string, never>;`;
  return `${commentOf(type, '')}${declared}\n`;
}

function mark(field: protobuf.Field): string {
  return isOptional(field) ? '?' : '';
}

function typeOf(field: protobuf.Field): string {
  const type = messageType(field)?.name ?? scalars[field.type];
  if (type === undefined) throw new Error(`${field.fullName} has a type that is not expected`);
  return field.repeated ? `readonly ${type}[]` : type;
}

function commentOf({ comment }: protobuf.ReflectionObject, indent: string): string {
  if (comment === null || comment === undefined) return '';
  if (!comment.includes('\n')) return `${indent}/** ${comment} */\n`;
  const lines = comment.split('\n').map((line) => `${indent} * ${line}\n`);
  return `${indent}/**\n${lines.join('')}${indent} */\n`;
}

if (process.argv[1]?.endsWith('generate.js')) fs.writeFileSync(typesPath, generateTypes());
