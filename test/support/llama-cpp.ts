import koffi from 'koffi';
import { loadNativeLibraries } from '../../model/native/libraries.js';

/** Larger than llama.cpp's parameter structs, which go by value; offsets are of the pinned version. */
const modelParameters = koffi.struct({ bytes: koffi.array('uint8', 128) });
const contextParameters = koffi.struct({ bytes: koffi.array('uint8', 256) });
const offsets = { contextTokens: 0, threads: 28, batchThreads: 32 };
const batchType = koffi.struct({
  n_tokens: 'int32',
  token: 'void*',
  embd: 'void*',
  pos: 'void*',
  n_seq_id: 'void*',
  seq_id: 'void*',
  logits: 'void*',
});

/**
 * Evaluates a text with llama.cpp itself, token by token.
 * @returns per token the logits that follow it, [vocabulary] f32
 */
export function llamaCppLogits(
  file: string,
  tokens: readonly number[],
  vocabulary: number,
): Float32Array[] {
  const { llama } = loadNativeLibraries();
  const defaults = (name: string, type: typeof modelParameters) =>
    llama.func(name, type, [])() as { bytes: Uint8Array };
  const model = llama.func('llama_model_load_from_file', 'void*', ['str', modelParameters])(
    file,
    defaults('llama_model_default_params', modelParameters),
  ) as bigint | null;
  if (!model) throw new Error(`llama.cpp cannot load ${file}`);
  const parameters = defaults('llama_context_default_params', contextParameters);
  const view = new DataView(parameters.bytes.buffer, parameters.bytes.byteOffset);
  view.setUint32(offsets.contextTokens, 256, true);
  view.setInt32(offsets.threads, 1, true);
  view.setInt32(offsets.batchThreads, 1, true);
  const context = llama.func('llama_init_from_model', 'void*', ['void*', contextParameters])(
    model,
    parameters,
  ) as bigint;
  try {
    const one = llama.func('llama_batch_get_one', batchType, ['void*', 'int32']);
    const decode = llama.func('llama_decode', 'int', ['void*', batchType]);
    const logitsOf = llama.func('llama_get_logits_ith', 'void*', ['void*', 'int32']);
    return tokens.map((token) => {
      const id = Int32Array.of(token);
      if (decode(context, one(id, 1)) !== 0) throw new Error('llama.cpp cannot decode');
      const logits = koffi.view(logitsOf(context, -1), vocabulary * 4);
      return new Float32Array(logits.slice(0));
    });
  } finally {
    llama.func('void llama_free(void*)')(context);
    llama.func('void llama_model_free(void*)')(model);
  }
}
