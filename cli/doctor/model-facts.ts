import { checkModel } from '../../model/architectures/check-model.js';
import { modelTotals, type ModelTotals } from '../../model/architectures/totals.js';
import { openGguf } from '../../model/gguf/reader.js';

/** What is in a model file. */
export interface ModelFacts extends ModelTotals {
  readonly file: string;
  readonly architecture: string;
  readonly layers: number;
  readonly hiddenSize: number;
  readonly vocabulary: number;
  readonly contextLength: number;
  readonly bytes: number;
  /** Bytes by tensor type. */
  readonly types: Readonly<Record<string, number>>;
  readonly fingerprint: string;
}

/** Reads a model file's header. @throws ModelError */
export async function modelFacts(file: string): Promise<ModelFacts> {
  const source = await openGguf(file);
  try {
    const model = checkModel(source);
    const { family, sizes } = model;
    const types: Record<string, number> = {};
    for (const { type, bytes } of source.tensors.values())
      types[type.name] = (types[type.name] ?? 0) + bytes;
    return {
      file,
      architecture: family,
      layers: sizes.layers,
      hiddenSize: sizes.hiddenSize,
      vocabulary: sizes.vocabulary,
      contextLength: sizes.contextLength,
      bytes: Object.values(types).reduce((sum, bytes) => sum + bytes, 0),
      types,
      ...modelTotals(model, source.tensors),
      fingerprint: source.fingerprint,
    };
  } finally {
    await source.close();
  }
}
