import { chatFormatOfModel } from '../model/chat-format/chat-format.js';
import { ModelError } from '../model/errors.js';
import { promptTokens } from '../model/prompt-tokens.js';
import type { TensorSource } from '../model/tensor-source.js';
import type { Tokenizer } from '../model/tokenizer.js';
import { greedy } from '../step/sampling.js';
import type { Segment } from '../step/step.js';
import type { CellRange } from './cells.js';
import { causalSegment } from './segments.js';

/** Tokens of a step: enough to be typical of a text, and few enough that progress can be seen. */
const pieceTokens = 64;

/**
 * The segments of steps by which stages that keep keys and values as whole numbers find scales for them. They are one
 * text, in pieces that each begin anew, so that neither what was said before nor the split makes a difference.
 * @param cells that nobody uses yet
 * @param maxStepTokens pieces have no more either
 */
export function calibrationSegments(
  text: Int32Array,
  cells: CellRange,
  maxStepTokens: number,
): Segment[] {
  const most = Math.min(pieceTokens, maxStepTokens, cells.length);
  return Array.from({ length: Math.ceil(text.length / most) }, (_, i) => {
    const piece = text.subarray(i * most, (i + 1) * most);
    return causalSegment({
      sequence: 1,
      text: piece,
      first: 0,
      count: piece.length,
      cells,
      choices: 'none',
      sampling: greedy,
    });
  });
}

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
  if (!source.metadata.has('tokenizer.chat_template')) return text;
  try {
    const messages = [{ role: 'user', content: text }] as const;
    return chatFormatOfModel(source).render(messages);
  } catch (error) {
    if (error instanceof ModelError) return text;
    throw error;
  }
}
