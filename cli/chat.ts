import path from 'node:path';
import type { Command } from 'commander';
import { ChatTemplate } from '../model/chat-template.js';
import { ChatLoop } from './chat/chat-loop.js';
import { Display, describeCluster } from './chat/display.js';
import { HistoryFile } from './chat/history.js';
import { LineReader } from './chat/line-reader.js';
import { Transcript } from './chat/transcript.js';
import { stateDirectory } from './directories.js';
import { createLogger } from './logging.js';
import { openCluster } from './open-cluster.js';
import { addSettings, answerSettings, clusterSettings, settingsFrom } from './options.js';
import { openLocal } from './open-local.js';
import { loadTokenizer } from './load-tokenizer.js';

const examples = `
Examples:
  daisychain chat -m model.gguf                             all on this machine
  daisychain chat -m model.gguf --layers 13,3 --spawn       two processes on this machine
  daisychain chat -m model.gguf --worker second:7070        with a worker on another machine
  daisychain chat --config configs/local-demo.yaml          settings from a file

In the chat, /help shows the commands. Input that is piped in is answered line by line.`;

/** `daisychain chat`: a conversation in the terminal. */
export function addChatCommand(program: Command): void {
  const command = program
    .command('chat')
    .description('chat with a model in the terminal')
    .addHelpText('after', examples)
    .action(chat);
  addSettings(command, [...clusterSettings, ...answerSettings]);
}

async function chat(flags: Record<string, unknown>): Promise<void> {
  const settings = settingsFrom(flags);
  const logger = createLogger(settings, 'warn');
  await using local = await openLocal(settings, logger);
  using tokenizer = loadTokenizer(settings);
  const template = new ChatTemplate(local.source);
  await using cluster = await openCluster(local, logger);
  const isTerminal = process.stdin.isTTY && process.stdout.isTTY;
  const display = new Display(process.stdout, isTerminal);
  const transcript = new Transcript(template, tokenizer, settings.system);
  display.note(describeCluster(path.basename(settings.model ?? ''), cluster));
  if (isTerminal) display.note('/help shows the commands');
  const history = new HistoryFile(path.join(stateDirectory(), 'history'));
  using reader = new LineReader(process.stdin, process.stdout, isTerminal, history);
  const loop = new ChatLoop({ cluster, tokenizer, transcript, reader, display, settings });
  process.on('SIGINT', () => loop.interrupt());
  process.on('SIGTERM', () => loop.leave());
  process.on('SIGHUP', () => loop.leave());
  await loop.run();
}
