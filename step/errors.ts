/** More than this is what somebody sent, not what we have to say about it. */
const longestMessage = 1000;

/**
 * The base of all errors meant for users. The message is one line that names the cause and the remedy; `code` says what
 * kind of failure it is, for whoever maps it to a status; `cause` is the error behind it, where there is one.
 */
export abstract class DaisychainError<Code extends string = string> extends Error {
  /** @param message in which others' words may be repeated, whatever they are */
  constructor(
    readonly code: Code,
    message: string,
    options?: { readonly cause?: unknown },
  ) {
    super(oneLine(message), options);
  }
}

/** What a terminal can show without being told to do anything else. */
function oneLine(message: string): string {
  const text = message.length > longestMessage ? `${message.slice(0, longestMessage)}…` : message;
  return text
    .replace(/\s*[\n\p{Zl}\p{Zp}]\s*/gu, ' ')
    .replace(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, escaped);
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
