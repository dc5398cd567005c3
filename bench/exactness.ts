import type { Logger } from 'pino';
import { openCluster } from '../app/cluster.js';
import { loadTokenizer } from '../app/model.js';
import { prepare } from '../app/prepare.js';
import type { Coordinator } from '../coord/coordinator.js';
import type { EngineName, KvType } from '../engine/engine.js';
import { greedy, type Sampling } from '../step/sampling.js';
import { Burners } from './burners.js';
import { trialPrompt } from './exactness-prompts.js';

/** What texts are computed in, in all combinations; the first of each is what the others are compared with. */
export interface ExactnessTrial {
  readonly model: string;
  readonly draft: string;
  readonly engines: readonly EngineName[];
  /** Layers per stage, each stage in a process of its own. */
  readonly splits: readonly (readonly number[])[];
  readonly chunks: readonly number[];
  readonly drafts: readonly boolean[];
  /** Whether every core is kept busy by others. */
  readonly loads: readonly boolean[];
  readonly kvType: KvType;
  /** Number of the first prompt, and how many follow. */
  readonly from: number;
  readonly prompts: number;
  /** Of a prompt. */
  readonly mostTokens: number;
  /** To generate. */
  readonly tokens: number;
}

/** A text that is not what it should be. */
export interface Difference {
  readonly prompt: number;
  readonly promptTokens: number;
  readonly sampled: boolean;
  readonly form: string;
  /** Index of the first token generated that differs. */
  readonly at: number;
}

export interface ExactnessResult {
  /** Compared with the first form's. */
  readonly texts: number;
  readonly differences: readonly Difference[];
}

const context = 2048;

/** What chat would take; every third text is chosen by it. */
const seeded: Sampling = { ...greedy, temperature: 0.7, topK: 40, topP: 0.95 };

/** One way to compute a text. */
interface Form {
  readonly engine: EngineName;
  readonly layers: readonly number[];
  readonly chunk: number;
  readonly drafts: boolean;
  readonly load: boolean;
}

/**
 * Computes the same texts in many forms, over links that change nothing, and compares them. Engines round differently, so
 * each is compared with itself.
 * @param report is told of every form in a line
 * @throws UsageError, ModelError, EngineError, TransportError, CoordinatorError, SpawnError
 */
export async function tryExactness(
  trial: ExactnessTrial,
  logger: Logger,
  report: (line: string) => void,
): Promise<ExactnessResult> {
  using tokenizer = loadTokenizer({ model: trial.model });
  const prompts = Array.from({ length: trial.prompts }, (_, i) =>
    trialPrompt(trial.from + i, trial.mostTokens, tokenizer),
  );
  const expected = new Map<EngineName, readonly (readonly number[])[]>();
  const differences: Difference[] = [];
  let texts = 0;
  for (const loaded of loadedForms(trial)) {
    await using cluster = await open(trial, loaded, logger);
    for (const form of usesOf(trial, loaded)) {
      const begin = performance.now();
      const actual = await generateAll(cluster.coordinator, prompts, trial, form);
      const seconds = ((performance.now() - begin) / 1000).toFixed(1);
      const reference = expected.get(form.engine);
      if (!reference) {
        expected.set(form.engine, actual);
        report(`${nameOf(form)}: ${actual.length} texts to compare with, ${seconds} s`);
        continue;
      }
      const found = compare(trial, prompts, nameOf(form), reference, actual);
      differences.push(...found);
      texts += actual.length;
      report(
        `${nameOf(form)}: ${found.length} differences of ${actual.length} texts, ${seconds} s`,
      );
    }
  }
  return { texts, differences };
}

type LoadedForm = Pick<Form, 'engine' | 'layers' | 'chunk'>;

function loadedForms({ engines, splits, chunks }: ExactnessTrial): LoadedForm[] {
  return engines.flatMap((engine) =>
    splits.flatMap((layers) => chunks.map((chunk) => ({ engine, layers, chunk }))),
  );
}

/** What can be tried without loading the model again. */
function usesOf({ drafts, loads }: ExactnessTrial, loaded: LoadedForm): Form[] {
  return drafts.flatMap((use) => loads.map((load) => ({ ...loaded, drafts: use, load })));
}

function nameOf({ engine, layers, chunk, drafts, load }: Form): string {
  const extras = [...(drafts ? ['drafts'] : []), ...(load ? ['load'] : [])];
  return [`${engine} ${layers.join('+')}`, `chunk ${chunk}`, ...extras].join(', ');
}

/** One line per text that differs. */
export function describeDifference(difference: Difference): string {
  const { prompt, promptTokens, sampled, form, at } = difference;
  return `prompt ${prompt} (${promptTokens} tokens, ${sampled ? 'seeded' : 'greedy'}), ${form}: token ${at} differs`;
}

async function open(
  { model, draft, kvType, drafts }: ExactnessTrial,
  { engine, layers, chunk }: LoadedForm,
  logger: Logger,
) {
  const isPipeline = layers.length > 1;
  const prepared = await prepare(
    {
      model,
      engine,
      chunk,
      context,
      kvType,
      threads: 1,
      codec: ['f32'],
      layers: [...layers],
      ...(isPipeline ? { spawn: true } : {}),
      ...(engine === 'ggml' ? { device: 'cpu' as const } : {}),
      ...(drafts.includes(true)
        ? { draft, speculate: isPipeline ? ('pipelined' as const) : ('sync' as const) }
        : {}),
    },
    logger,
  );
  try {
    const cluster = await openCluster(prepared, logger);
    return {
      coordinator: cluster.coordinator,
      [Symbol.asyncDispose]: async () => {
        await cluster[Symbol.asyncDispose]();
        await prepared[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await prepared[Symbol.asyncDispose]();
    throw error;
  }
}

async function generateAll(
  coordinator: Coordinator,
  prompts: readonly Int32Array[],
  { from, tokens }: ExactnessTrial,
  { drafts, load }: Form,
): Promise<number[][]> {
  const burners = load ? new Burners() : undefined;
  const conversation = coordinator.conversation();
  const texts: number[][] = [];
  try {
    for (const [i, prompt] of prompts.entries()) {
      conversation.reset();
      const sampling = isSampled(from + i) ? { ...seeded, seed: from + i } : greedy;
      const text: number[] = [];
      const isEnd = () => false;
      const how = { sampling, maxTokens: tokens, isEnd, speculate: drafts, reuse: false };
      for await (const token of conversation.generate(prompt, how)) text.push(token);
      texts.push(text);
    }
    return texts;
  } finally {
    conversation.close();
    await burners?.end();
  }
}

function isSampled(prompt: number): boolean {
  return prompt % 3 === 2;
}

function compare(
  { from }: ExactnessTrial,
  prompts: readonly Int32Array[],
  form: string,
  expected: readonly (readonly number[])[],
  actual: readonly (readonly number[])[],
): Difference[] {
  return actual.flatMap((text, i) => {
    const other = expected[i] ?? [];
    const length = Math.max(text.length, other.length);
    const at = Array.from({ length }, (_, j) => j).find((j) => text[j] !== other[j]);
    const prompt = from + i;
    const promptTokens = prompts[i]?.length ?? 0;
    return at === undefined ? [] : [{ prompt, promptTokens, sampled: isSampled(prompt), form, at }];
  });
}
