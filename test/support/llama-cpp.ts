import koffi from 'koffi';
import { loadNativeLibraries } from '../../model/native/libraries.js';

/** Larger than llama.cpp's parameter structs, which go by value; offsets are of the pinned version. */
const modelParameters = koffi.struct({ bytes: koffi.array('uint8', 128) });
const contextParameters = koffi.struct({ bytes: koffi.array('uint8', 256) });
const offsets = { contextTokens: 0, threads: 28, batchThreads: 32, flashAttention: 52 };
const batchType = koffi.struct({
  n_tokens: 'int32',
  token: 'void*',
  embd: 'void*',
  pos: 'void*',
  n_seq_id: 'void*',
  seq_id: 'void*',
  logits: 'void*',
});

/** A text that llama.cpp itself evaluates. */
export interface LlamaCppText extends Disposable {
  /** Takes further tokens, in one batch. @returns the logits that follow the last, [vocabulary] f32 */
  logitsAfter(tokens: readonly number[]): Float32Array;
}

/** @param contextTokens that the text may have */
export function openLlamaCpp(file: string, vocabulary: number, contextTokens = 256): LlamaCppText {
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
  view.setUint32(offsets.contextTokens, contextTokens, true);
  view.setInt32(offsets.threads, 1, true);
  view.setInt32(offsets.batchThreads, 1, true);
  // Its flash attention on the CPU rounds queries to f16.
  view.setInt32(offsets.flashAttention, 0, true);
  const context = llama.func('llama_init_from_model', 'void*', ['void*', contextParameters])(
    model,
    parameters,
  ) as bigint;
  const batchOf = llama.func('llama_batch_get_one', batchType, ['void*', 'int32']);
  const decode = llama.func('llama_decode', 'int', ['void*', batchType]);
  const logitsOf = llama.func('llama_get_logits_ith', 'void*', ['void*', 'int32']);
  return {
    logitsAfter: (tokens) => {
      const ids = Int32Array.from(tokens);
      if (decode(context, batchOf(ids, ids.length)) !== 0)
        throw new Error('llama.cpp cannot decode');
      const logits = koffi.view(logitsOf(context, -1), vocabulary * 4);
      return new Float32Array(logits.slice(0));
    },
    [Symbol.dispose]: () => {
      llama.func('void llama_free(void*)')(context);
      llama.func('void llama_model_free(void*)')(model);
    },
  };
}

/** @returns per token of a text, evaluated one by one, the logits that follow it */
export function llamaCppLogits(
  file: string,
  tokens: readonly number[],
  vocabulary: number,
): Float32Array[] {
  using text = openLlamaCpp(file, vocabulary);
  return tokens.map((token) => text.logitsAfter([token]));
}
