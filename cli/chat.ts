import path from 'node:path';
import type { Command } from 'commander';
import { stateDirectory } from '../app/directories.js';
import { createLogger } from '../app/logging.js';
import { loadTokenizer } from '../app/model.js';
import { prepare } from '../app/prepare.js';
import { reasoningFrom } from '../app/settings/choices.js';
import { chatFormatOfModel } from '../model/chat-format/chat-format.js';
import { ChatLoop } from './chat/chat-loop.js';
import { ChatSession } from './chat/chat-session.js';
import { Display, describeCluster } from './chat/display.js';
import { HistoryFile } from './chat/history.js';
import { LineReader } from './chat/line-reader.js';
import { SessionFolder } from './chat/session-folder.js';
import { Transcript } from './chat/transcript.js';
import { addSettings, answerSettings, clusterSettings, settingsFrom } from './options.js';
import { openClusterWithProgress } from './progress.js';

const examples = `
Examples:
  daisychain chat -m model.gguf                             all on this machine
  daisychain chat -m model.gguf --layers 13,3 --spawn       two processes on this machine
  daisychain chat -m model.gguf --worker second:7070        with a worker on another machine
  daisychain chat --config configs/local-demo.yaml          settings from a file
  daisychain chat -m model.gguf --resume                    goes on where the last chat ended

In the chat, /help shows the commands. Input that is piped in is answered line by line.`;

/** `daisychain chat`: a conversation in the terminal. */
export function addChatCommand(program: Command): void {
  const command = program
    .command('chat')
    .description('chat with a model in the terminal')
    .option('--resume [name]', 'go on with a saved conversation (default: the latest)')
    .addHelpText('after', examples)
    .action(chat);
  addSettings(command, [...clusterSettings, ...answerSettings]);
}

interface ChatFlags {
  /** A name, or true for the latest. */
  readonly resume?: string | true;
}

async function chat(flags: ChatFlags & Record<string, unknown>): Promise<void> {
  const settings = settingsFrom(flags);
  const sessions = new SessionFolder(path.join(stateDirectory(), 'sessions'));
  const { resume } = flags;
  const resumed =
    resume === undefined ? undefined : sessions.find(resume === true ? undefined : resume);
  const logger = createLogger(settings, 'warn');
  await using prepared = await prepare(settings, logger);
  using tokenizer = loadTokenizer(settings);
  const format = chatFormatOfModel(prepared.source);
  const reasoning = reasoningFrom(settings);
  format.checkReasoning(reasoning);
  await using cluster = await openClusterWithProgress(prepared, logger);
  const isTerminal = process.stdin.isTTY && process.stdout.isTTY;
  const display = new Display(process.stdout, isTerminal);
  const conversation = cluster.coordinator.conversation();
  const transcript = new Transcript(
    format,
    tokenizer,
    conversation.text,
    settings.system,
    reasoning,
  );
  const modelName = path.basename(settings.model ?? '');
  const session = new ChatSession({
    folder: sessions,
    conversation,
    transcript,
    model: { name: modelName, fingerprint: prepared.source.fingerprint },
  });
  display.note(describeCluster(modelName, cluster));
  if (isTerminal) display.note('/help shows the commands');
  if (resumed) display.note(session.resume(resumed));
  transcript.system = settings.system ?? transcript.system;
  const history = new HistoryFile(path.join(stateDirectory(), 'history'));
  using reader = new LineReader(process.stdin, process.stdout, isTerminal, history);
  const loop = new ChatLoop({
    cluster,
    conversation,
    tokenizer,
    format,
    transcript,
    session,
    sessions,
    reader,
    display,
    settings,
  });
  process.on('SIGINT', () => loop.interrupt());
  process.on('SIGTERM', () => loop.leave());
  process.on('SIGHUP', () => loop.leave());
  await loop.run();
}
