/**
 * A tiny but complete Hugging Face folder for tests, and ways to spoil it.
 *
 * @module
 */
import { byteAlphabet } from "../../model/bpe.ts";
import type { ScratchFolder } from "./files.ts";

/** A tensor to write; by default F32 and where the one before it ends. */
export interface SafetensorToWrite {
  readonly dtype?: string;
  readonly shape: readonly number[];
  readonly data_offsets?: readonly unknown[];
}

const ELEMENT_BYTES: Readonly<Record<string, number>> = { F32: 4, F16: 2, BF16: 2, F64: 8, U8: 1 };

/** The bytes of a safetensors file. */
export function writeSafetensors(
  tensors: Readonly<Record<string, SafetensorToWrite>>,
  dataBytes?: number,
): Uint8Array {
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  let end = 0;
  for (const [name, { dtype = "F32", shape, data_offsets }] of Object.entries(tensors)) {
    const bytes = shape.reduce((product, size) => product * size, ELEMENT_BYTES[dtype] ?? 1);
    header[name] = { dtype, shape, data_offsets: data_offsets ?? [end, end + bytes] };
    end += bytes;
  }
  return rawSafetensors(JSON.stringify(header), dataBytes ?? end);
}

/** A safetensors file of any header text, valid or not. */
export function rawSafetensors(header: string, dataBytes: number, claimed?: bigint): Uint8Array {
  const text = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + text.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, claimed ?? BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}

/** `config.json` of the tiny Llama. */
export const tinyConfig: Readonly<Record<string, unknown>> = {
  model_type: "llama",
  vocab_size: 260,
  hidden_size: 12,
  intermediate_size: 20,
  num_hidden_layers: 2,
  num_attention_heads: 3,
  num_key_value_heads: 1,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  eos_token_id: 1,
};

/** Its tensors, by name. */
export function tinyWeights(): Record<string, SafetensorToWrite> {
  const layer = (index: number): Record<string, SafetensorToWrite> => {
    const prefix = `model.layers.${index}`;
    return {
      [`${prefix}.input_layernorm.weight`]: { shape: [12] },
      [`${prefix}.self_attn.q_proj.weight`]: { shape: [12, 12] },
      [`${prefix}.self_attn.k_proj.weight`]: { shape: [4, 12], dtype: "BF16" },
      [`${prefix}.self_attn.v_proj.weight`]: { shape: [4, 12], dtype: "F16" },
      [`${prefix}.self_attn.o_proj.weight`]: { shape: [12, 12] },
      [`${prefix}.post_attention_layernorm.weight`]: { shape: [12] },
      [`${prefix}.mlp.gate_proj.weight`]: { shape: [20, 12] },
      [`${prefix}.mlp.up_proj.weight`]: { shape: [20, 12] },
      [`${prefix}.mlp.down_proj.weight`]: { shape: [12, 20] },
    };
  };
  return {
    "model.embed_tokens.weight": { shape: [260, 12] },
    ...layer(0),
    ...layer(1),
    "model.norm.weight": { shape: [12] },
    "lm_head.weight": { shape: [260, 12] },
  };
}

/** `tokenizer.json` of the tiny Llama: bytes, two merges, two control tokens. */
export function tinyTokenizer(): Record<string, unknown> {
  const tokens = [...byteAlphabet, "th", "the"];
  return {
    model: {
      type: "BPE",
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id + 2])),
      merges: ["t h", "th e"],
    },
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, use_regex: true },
    post_processor: null,
    decoder: { type: "ByteLevel" },
    added_tokens: [
      { id: 0, content: "<bos>", special: true, normalized: false },
      { id: 1, content: "<eos>", special: true, normalized: false },
    ],
  };
}

/** What {@linkcode writeTinyFolder} changes; undefined leaves a file out. */
export interface TinyFolderChanges {
  readonly config?: Readonly<Record<string, unknown>>;
  readonly weights?: Readonly<Record<string, SafetensorToWrite | undefined>>;
  readonly files?: Readonly<Record<string, string | Uint8Array | undefined>>;
}

/** Writes the tiny model below the scratch folder and returns its path. */
export function writeTinyFolder(folder: ScratchFolder, changes: TinyFolderChanges = {}): string {
  const weights = Object.entries({ ...tinyWeights(), ...changes.weights })
    .filter((entry): entry is [string, SafetensorToWrite] => entry[1] !== undefined);
  const files: Record<string, string | Uint8Array | undefined> = {
    "config.json": JSON.stringify({ ...tinyConfig, ...changes.config }),
    "tokenizer.json": JSON.stringify(tinyTokenizer()),
    "tokenizer_config.json": JSON.stringify({
      bos_token: "<bos>",
      eos_token: { content: "<eos>" },
    }),
    "model.safetensors": writeSafetensors(Object.fromEntries(weights)),
    ...changes.files,
  };
  for (const [name, content] of Object.entries(files)) {
    if (content !== undefined) folder.write(`tiny-llama/${name}`, content);
  }
  return `${folder.path}/tiny-llama`;
}
