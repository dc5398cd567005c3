import { randomTokens } from '../bench/benchmark.js';
import { ModelError } from '../model/errors.js';
import type { TensorSource } from '../model/tensor-source.js';
import { loadTokenizer } from './load-tokenizer.js';
import type { Local } from './open-local.js';
import { promptText, promptTokens, type Prompt } from './prompt.js';

/** Tokens for models that cannot read. */
const randomCount = 256;

/** Some of everything that people give a model to read. */
const text = `Could you explain how a rainbow comes about? Keep it short, please.

When sunlight enters a raindrop it is bent, split into its colours, reflected at the back of the drop and bent again on its way out. Each colour leaves at a slightly different angle: red at about 42 degrees, violet at 40. Millions of drops together draw the arc; the sun always stands behind you.

function mean(values) {
  if (values.length === 0) return NaN; // nothing to add
  return values.reduce((sum, x) => sum + x, 0) / values.length;
}

1. 17 * 23 = 391
2. x^2 - 5x + 6 = 0, so x = 2 or x = 3
{"name": "Ada", "born": 1815, "tags": ["mathematics", "engines"], "alive": false}

Il était une fois une petite maison au bord de la mer. Der Schlüssel liegt unter dem Stein neben der Tür. ¿Dónde está la biblioteca? 今天天气很好，我们去公园散步。 Привет, как дела?

"Well," she said, and closed the book, "that was not the ending I had hoped for!" Nobody answered. Outside, the rain had stopped.`;

/** Token ids of a text as the model is used to read them, in its chat format where it has one. @throws ModelError */
export function calibrationText({
  settings,
  source,
  sizes,
}: Pick<Local, 'settings' | 'source' | 'sizes'>): Int32Array {
  if (settings.synthetic) return randomTokens(randomCount, sizes.vocabulary);
  using tokenizer = loadTokenizer(settings);
  return promptTokens(
    formatted({ messages: [{ role: 'user', content: text }] }, source),
    tokenizer,
  );
}

function formatted(prompt: Prompt, source: TensorSource): string {
  try {
    return promptText(prompt, source);
  } catch (error) {
    if (error instanceof ModelError) return text;
    throw error;
  }
}
