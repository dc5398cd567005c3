import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';

/** Where this folder's sources are, from its compiled files. */
const folder = new URL('../../../transport/messages/', import.meta.url);

/** The path of a source file of this folder. */
export function sourcePath(name: string): string {
  return fileURLToPath(new URL(name, folder));
}

/** The messages that daisychain.proto defines. */
export function loadSchema(): protobuf.Root {
  return new protobuf.Root().loadSync(sourcePath('daisychain.proto'), {
    // Comments with two slashes belong to what they precede.
    alternateCommentMode: true,
  });
}

/** What a field holds, where that is a message of its own. */
export function messageType({ resolvedType }: protobuf.Field): protobuf.Type | undefined {
  return resolvedType instanceof protobuf.Type ? resolvedType : undefined;
}

/** Whether a field may be absent: it is marked so, or one of several of which one is there. */
export function isOptional({ partOf }: protobuf.Field): boolean {
  return partOf !== null;
}
