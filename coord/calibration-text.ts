import { ChatTemplate } from '../model/chat-template.js';
import { ModelError } from '../model/errors.js';
import { promptTokens } from '../model/prompt-tokens.js';
import type { TensorSource } from '../model/tensor-source.js';
import type { Tokenizer } from '../model/tokenizer.js';

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

/** Token ids of a text to calibrate a model with: as it is used to read, in its chat format where it has one. */
export function calibrationText(source: TensorSource, tokenizer: Tokenizer): Int32Array {
  return promptTokens(formatted(source), tokenizer);
}

function formatted(source: TensorSource): string {
  try {
    const messages = [{ role: 'user', content: text }] as const;
    return new ChatTemplate(source).render(messages, { addGenerationPrompt: true });
  } catch (error) {
    if (error instanceof ModelError) return text;
    throw error;
  }
}
