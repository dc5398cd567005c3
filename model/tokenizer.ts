import koffi from 'koffi';
import { ModelError } from './errors.js';
import { firstPartName } from './gguf/parts.js';
import { refuseLongRuns } from './long-runs.js';
import { loadNativeLibraries } from './native/libraries.js';

type Pointer = bigint;

/**
 * Larger than struct llama_model_params, which is passed by value: callees read only the part they know. The offsets
 * are those of the pinned library version, and `checkDefaults` refuses any other layout.
 */
const parametersBytes = 128;
const offsets = { gpuLayers: 16, vocabularyOnly: 72 };
/** vocab_only and check_tensors are off, use_extra_bufts is on, no_host is off. */
const defaultFlags = 0x0001_0000;
/** What llama_vocab_type says of a model that comes without a tokenizer; libllama aborts when asked to use it. */
const noVocabulary = 0;

interface LlamaVocabulary {
  tokenize(
    text: Uint8Array,
    textBytes: number,
    ids: Int32Array,
    room: number,
    addSpecial: boolean,
    parseSpecial: boolean,
  ): number;
  piece(id: number, bytes: Uint8Array, room: number, special: boolean): number;
  size: number;
  bos: number;
  eos: number;
  isEndOfGeneration(id: number): boolean;
  addsBos: boolean;
  /** How text is cut into words before these become tokens; empty when the model does not say. */
  splitter: string;
  free(): void;
}

/** How text is read. */
export interface EncodeOptions {
  /** Whether `<|im_start|>` and the like in the text become the special tokens they name. */
  readonly parseSpecial: boolean;
  /** Whether the tokens that the model wants around a text (such as its beginning) are added. */
  readonly addSpecial: boolean;
}

/** The model's own tokenizer, through libllama: exact for every family that llama.cpp knows. */
export class Tokenizer implements Disposable {
  #open: LlamaVocabulary | undefined;

  private constructor(vocabulary: LlamaVocabulary) {
    this.#open = vocabulary;
  }

  /**
   * Reads the vocabulary of a GGUF file (or of a split one, given any part), not its weights. A damaged one can end the
   * process, unless `checkModel` has passed the model before.
   * @throws ModelError when it has none that is known
   */
  static load(path: string): Tokenizer {
    return new Tokenizer(openVocabulary(firstPartName(path)));
  }

  /** Number of token ids. */
  get size(): number {
    return this.#vocabulary.size;
  }

  /** Text of the token that begins a text; empty when there is none. */
  get bosToken(): string {
    return this.#specialText(this.#vocabulary.bos);
  }

  /** Text of the token that ends a text; empty when there is none. */
  get eosToken(): string {
    return this.#specialText(this.#vocabulary.eos);
  }

  /** Whether `addSpecial` puts the token that begins a text in front. */
  get addsBos(): boolean {
    return this.#vocabulary.addsBos;
  }

  /**
   * The tokens of a text.
   * @throws ModelError when the text is more than the model's tokenizer can take
   */
  encode(text: string, { parseSpecial, addSpecial }: EncodeOptions): Int32Array {
    refuseLongRuns(text, this.#vocabulary.splitter);
    const bytes = Buffer.from(text, 'utf8');
    const encodeInto = (room: number) => {
      const ids = new Int32Array(room);
      const count = this.#vocabulary.tokenize(
        bytes,
        bytes.length,
        ids,
        room,
        addSpecial,
        parseSpecial,
      );
      return { ids, count };
    };
    // A negative count says how much room is needed.
    let { ids, count } = encodeInto(bytes.length + 16);
    if (count < 0) ({ ids, count } = encodeInto(-count));
    return ids.slice(0, count);
  }

  /**
   * The bytes of a token, which need not be whole characters.
   * @param special whether special tokens have a text
   * @throws ModelError when the vocabulary has no such token
   */
  piece(id: number, special = false): Uint8Array {
    if (!(id >= 0 && id < this.size))
      throw new ModelError(
        'text',
        `token ${id} is not in the vocabulary of ${this.size}: do all machines have the same model?`,
      );
    let bytes = new Uint8Array(64);
    let length = this.#vocabulary.piece(id, bytes, bytes.length, special);
    if (length < 0) {
      bytes = new Uint8Array(-length);
      length = this.#vocabulary.piece(id, bytes, bytes.length, special);
    }
    return bytes.subarray(0, Math.max(0, length));
  }

  /** Whether a token ends the model's turn. */
  isEndOfGeneration(id: number): boolean {
    return this.#vocabulary.isEndOfGeneration(id);
  }

  [Symbol.dispose](): void {
    this.#open?.free();
    this.#open = undefined;
  }

  /** libllama would read freed memory. */
  get #vocabulary(): LlamaVocabulary {
    if (!this.#open) throw new ModelError('closed', 'the tokenizer is closed: load it again');
    return this.#open;
  }

  #specialText(id: number): string {
    return id < 0 ? '' : Buffer.from(this.piece(id, true)).toString('utf8');
  }
}

function openVocabulary(path: string): LlamaVocabulary {
  const { llama } = loadNativeLibraries();
  const parameters = koffi.struct({ bytes: koffi.array('uint8', parametersBytes) });
  const bytes = checkDefaults(
    (llama.func('llama_model_default_params', parameters, [])() as { bytes: Uint8Array }).bytes,
  );
  bytes[offsets.vocabularyOnly] = 1;
  const load = llama.func('llama_model_load_from_file', 'void*', ['str', parameters]);
  const model = load(path, { bytes }) as Pointer | null;
  const vocabulary = model && (llama.func('void* llama_model_get_vocab(void*)')(model) as Pointer);
  const number = (name: string) => llama.func(`int ${name}(void*)`)(vocabulary) as number;
  const free = () => void llama.func('void llama_model_free(void*)')(model);
  if (!vocabulary || number('llama_vocab_type') === noVocabulary) {
    if (model) free();
    throw new ModelError(
      'unsupported',
      `cannot read the tokenizer of ${path}: the file has none, or one that is not known: use another file of the model`,
    );
  }
  const tokenize = llama.func('int llama_tokenize(void*, void*, int, void*, int, bool, bool)');
  const piece = llama.func('int llama_token_to_piece(void*, int, void*, int, int, bool)');
  const isEog = llama.func('bool llama_vocab_is_eog(void*, int)');
  return {
    tokenize: (...values) => tokenize(vocabulary, ...values) as number,
    piece: (id, into, room, special) => piece(vocabulary, id, into, room, 0, special) as number,
    size: number('llama_vocab_n_tokens'),
    bos: number('llama_vocab_bos'),
    eos: number('llama_vocab_eos'),
    isEndOfGeneration: (id) => isEog(vocabulary, id) as boolean,
    addsBos: llama.func('bool llama_vocab_get_add_bos(void*)')(vocabulary) as boolean,
    splitter: metadataOf(model, 'tokenizer.ggml.pre'),
    free,
  };
}

/** A text of the model's metadata; empty when there is none. */
function metadataOf(model: Pointer | null, key: string): string {
  const { llama } = loadNativeLibraries();
  const bytes = Buffer.alloc(64);
  const value = llama.func('int llama_model_meta_val_str(void*, const char*, void*, size_t)');
  const length = value(model, key, bytes, bytes.length) as number;
  return bytes.toString('utf8', 0, Math.max(0, length));
}

/** The defaults of the version that the offsets were taken from: -1 GPU layers, then split mode 1, then the flags. */
function checkDefaults(bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const looksRight =
    view.getInt32(offsets.gpuLayers, true) === -1 &&
    view.getInt32(offsets.gpuLayers + 4, true) === 1 &&
    view.getUint32(offsets.vocabularyOnly, true) === defaultFlags;
  if (!looksRight)
    throw new ModelError(
      'library',
      'libllama is of another version than daisychain was built for: run npm install',
    );
  return bytes;
}
