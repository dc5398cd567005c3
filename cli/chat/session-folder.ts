import fs from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { UsageError } from '../../app/errors.js';
import { writePrivateFile } from './private-file.js';

const suffix = '.json';

const nameSchema = z.string().regex(/^\w[\w.-]{0,63}$/);

const span = z.object({ first: z.int().min(0), end: z.int().min(0) });

const message = z.object({
  role: z.enum(['user', 'assistant']),
  content: z.string(),
  reasoning_content: z.string().exactOptional(),
});

const sessionSchema = z
  .object({
    version: z.literal(1),
    savedAt: z.iso.datetime(),
    /** Which model it was with: the name of its file, and what is in it. */
    model: z.object({ name: z.string(), fingerprint: z.string() }),
    system: z.string().optional(),
    messages: z.array(message),
    /** The turns that are finished, as the model's text, of which the first `finishedTokens` tokens are. */
    finished: z.object({ text: z.string(), tokens: z.int().min(0) }),
    text: z.object({
      tokens: z.array(z.int().min(0)),
      computed: z.int().min(0),
      prompts: z.array(span),
    }),
  })
  .refine(({ finished, text }) => finished.tokens <= text.tokens.length);

/** A chat as its file has it. */
export type Session = z.output<typeof sessionSchema>;

/** A chat that was saved, and what it is called. */
export interface SavedSession {
  readonly name: string;
  readonly session: Session;
}

/** Chats that were saved: a file each, which only its owner can read. */
export class SessionFolder {
  constructor(private readonly folder: string) {}

  /** @throws UsageError for what is no name; Error of the file system */
  save(name: string, session: Session): void {
    writePrivateFile(this.#fileOf(name), JSON.stringify(session));
  }

  /** @throws UsageError when there is none of that name, or its file makes no sense */
  load(name: string): Session {
    const file = this.#fileOf(name);
    let text: string;
    try {
      text = fs.readFileSync(file, 'utf8');
    } catch (error) {
      throw new UsageError('file', `no saved chat "${name}": /sessions in a chat shows them`, {
        cause: error,
      });
    }
    try {
      return sessionSchema.parse(JSON.parse(text));
    } catch (error) {
      throw new UsageError('file', `${file} is no saved chat, or of another version`, {
        cause: error,
      });
    }
  }

  /** @param name default: that of the latest @throws UsageError when there is none, or its file makes no sense */
  find(name?: string): SavedSession {
    if (name !== undefined) return { name, session: this.load(name) };
    const [latest] = this.list();
    if (latest) return latest;
    throw new UsageError(
      'file',
      'no chat is saved yet: the first one will be, after its first answer',
    );
  }

  /** All that can be loaded, the latest first. */
  list(): SavedSession[] {
    return this.#names()
      .flatMap((name) => {
        try {
          return [{ name, session: this.load(name) }];
        } catch {
          return [];
        }
      })
      .sort((a, b) => b.session.savedAt.localeCompare(a.session.savedAt));
  }

  #names(): string[] {
    try {
      const files = fs.readdirSync(this.folder).filter((file) => file.endsWith(suffix));
      return files.map((file) => file.slice(0, -suffix.length));
    } catch {
      return [];
    }
  }

  #fileOf(name: string): string {
    if (nameSchema.safeParse(name).success) return path.join(this.folder, name + suffix);
    throw new UsageError(
      'setting',
      `"${name}" is no name for a chat: use letters, digits, dots and dashes`,
    );
  }
}
