import { textStep } from '../../bench/text-step.js';
import type { Engine } from '../../engine/engine.js';
import { readModelSizes } from '../../model/architectures/model.js';
import type { TensorSource } from '../../model/tensor-source.js';

/** The logits after every token of a text. @returns [n, vocabulary] f32 */
export async function wholeModelLogits(
  engine: Engine,
  source: TensorSource,
  text: readonly number[],
): Promise<Float32Array> {
  const { layers } = readModelSizes(source);
  const stage = await engine.load({
    source,
    shard: { firstLayer: 0, endLayer: layers, embedding: true, head: true },
    cells: 256,
    kvType: 'f16',
    maxStepRows: 256,
  });
  try {
    const step = textStep(text, { cells: { start: 0, length: 256 } });
    return await stage.logits(step, new Float32Array(0));
  } finally {
    stage.dispose();
  }
}
