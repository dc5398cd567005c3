import { nearest } from '../../app/settings/nearest.js';

const commands = {
  reset: 'begin a new conversation',
  save: 'NAME names this conversation; it is saved after every answer (as "last" without a name)',
  load: 'NAME goes on with a saved conversation; alone, with the latest',
  sessions: 'the conversations that are saved',
  stats: 'what the stages did since the start of the last answer',
  system: 'TEXT sets the system prompt, from the next message on; alone it shows it',
  help: 'show this',
  exit: 'leave (so does Ctrl-D)',
} as const;

export type CommandName = keyof typeof commands;

/** An input that is meant for the chat, not for the model. */
export type ChatCommand =
  | { readonly name: CommandName; readonly argument: string }
  | { readonly name: 'unknown'; readonly hint: string };

const names = Object.keys(commands) as CommandName[];

/** Reads inputs like `/system Be brief.`; text that only begins with a slash, like a path, is for the model. */
export function parseCommand(input: string): ChatCommand | undefined {
  const match = /^\/(\w+)(?:\s+([^]*))?$/.exec(input.trim());
  if (!match) return undefined;
  const [, word = '', argument = ''] = match;
  const name = names.find((candidate) => candidate === word);
  if (name) return { name, argument: argument.trim() };
  const near = nearest(word, names);
  const hint = near ? `did you mean /${near}?` : 'try /help';
  return { name: 'unknown', hint: `unknown command /${word}: ${hint}` };
}

export const helpText = [
  ...names.map((name) => `/${name.padEnd(10)}${commands[name]}`),
  'A line that ends with \\ goes on in the next; """ begins and ends a text of several lines.',
  'Ctrl-C stops an answer; on an empty line it leaves.',
].join('\n');
