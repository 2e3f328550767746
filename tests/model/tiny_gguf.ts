/**
 * A tiny but complete GGUF model for tests, and ways to spoil it.
 *
 * @module
 */
import { byteAlphabet } from "../../model/bpe.ts";
import {
  gguf,
  type GgufToWrite,
  type Metadata,
  type TensorToWrite,
  writeGguf,
} from "./gguf_writer.ts";

const CONTROL = 3;
const NORMAL = 1;
const TOKENS = [
  "<|endoftext|>",
  "<|im_start|>",
  "<|im_end|>",
  ...byteAlphabet,
  "th",
  "the",
  "Ġthe",
];
const VOCAB_SIZE = 288; // more rows than tokens, as real models pad
const HIDDEN = 64;
const MLP = 96;
const KEYS = 32;

/** Metadata of the tiny model: one Llama layer, two heads of 32, byte-level tokens. */
export const tinyMetadata: Metadata = [
  ["general.architecture", gguf.string, "llama"],
  ["llama.block_count", gguf.u32, 1],
  ["llama.context_length", gguf.u32, 128],
  ["llama.embedding_length", gguf.u32, HIDDEN],
  ["llama.feed_forward_length", gguf.u32, MLP],
  ["llama.attention.head_count", gguf.u32, 2],
  ["llama.attention.head_count_kv", gguf.u32, 1],
  ["llama.attention.layer_norm_rms_epsilon", gguf.f32, 1e-5],
  ["tokenizer.ggml.model", gguf.string, "gpt2"],
  ["tokenizer.ggml.pre", gguf.string, "smollm"],
  ["tokenizer.ggml.tokens", gguf.array, [gguf.string, TOKENS]],
  ["tokenizer.ggml.token_type", gguf.array, [
    gguf.i32,
    TOKENS.map((_, id) => id < 3 ? CONTROL : NORMAL),
  ]],
  ["tokenizer.ggml.merges", gguf.array, [gguf.string, ["t h", "th e", "Ġ the"]]],
  ["tokenizer.ggml.bos_token_id", gguf.u32, 1],
  ["tokenizer.ggml.eos_token_id", gguf.u32, 2],
  [
    "tokenizer.chat_template",
    gguf.string,
    "{% for m in messages %}{{ m['content'] }}{{ eos_token }}{% endfor %}",
  ],
];

/** Its tensors; F32 but for one of each supported quantization. */
export const tinyTensors: readonly TensorToWrite[] = [
  { name: "token_embd.weight", dims: [HIDDEN, VOCAB_SIZE], type: 8 },
  { name: "output_norm.weight", dims: [HIDDEN] },
  { name: "blk.0.attn_norm.weight", dims: [HIDDEN] },
  { name: "blk.0.attn_q.weight", dims: [HIDDEN, HIDDEN], type: 3 },
  { name: "blk.0.attn_k.weight", dims: [HIDDEN, KEYS], type: 2 },
  { name: "blk.0.attn_v.weight", dims: [HIDDEN, KEYS], type: 1 },
  { name: "blk.0.attn_output.weight", dims: [HIDDEN, HIDDEN], type: 30 },
  { name: "blk.0.ffn_norm.weight", dims: [HIDDEN] },
  { name: "blk.0.ffn_gate.weight", dims: [HIDDEN, MLP] },
  { name: "blk.0.ffn_up.weight", dims: [HIDDEN, MLP] },
  { name: "blk.0.ffn_down.weight", dims: [MLP, HIDDEN] },
];

/** Metadata with some keys replaced, added (at the end) or, with undefined, left out. */
export function withKeys(
  changes: Readonly<Record<string, readonly [type: number, value: unknown] | undefined>>,
): Metadata {
  const kept = tinyMetadata.filter(([key]) => !(key in changes));
  const changed = Object.entries(changes).flatMap(([key, entry]) =>
    entry ? [[key, ...entry] as const] : []
  );
  return [...kept, ...changed];
}

/** Tensors with some replaced by name or, with undefined, left out; new ones come last. */
export function withTensors(
  changes: Readonly<Record<string, Partial<TensorToWrite> | undefined>>,
): TensorToWrite[] {
  const changed = tinyTensors.flatMap((tensor) =>
    !(tensor.name in changes)
      ? [tensor]
      : changes[tensor.name]
      ? [{ ...tensor, ...changes[tensor.name] }]
      : []
  );
  const known = new Set(tinyTensors.map(({ name }) => name));
  const added = Object.entries(changes).filter(([name]) => !known.has(name));
  return [...changed, ...added.map(([name, tensor]) => ({ name, dims: [HIDDEN], ...tensor }))];
}

/** The bytes of the tiny model, spoiled as asked. */
export function tinyGguf(changes: Partial<GgufToWrite> = {}): Uint8Array<ArrayBuffer> {
  return writeGguf({ metadata: tinyMetadata, tensors: tinyTensors, ...changes });
}
