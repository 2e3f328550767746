/**
 * What a model is, in numbers: the border between the code that reads files (`model/`) and the code
 * that hands models to the native library (`ffi/`).
 *
 * @module
 */

import type { RenderedText } from "./jinja/template.ts";
import type { Steps } from "./steps.ts";

/** Element types of weights, as `HEARTH_DTYPE_*` in hearth.h. */
export type DType = "F32" | "F16" | "BF16" | "Q8_0" | "Q4_0" | "Q4_1" | "Q6_K";

/** One description for all families; the fields are those of `hearth_model_spec`. */
export interface ModelSpec {
  /** Rows of the token embedding. */
  readonly vocabSize: number;
  /** Width between layers. */
  readonly hiddenSize: number;
  /** Width of the token embedding; differs from `hiddenSize` where the model projects (OPT-350m). */
  readonly embeddingSize: number;
  /** Width inside the MLP. */
  readonly intermediateSize: number;
  /** Transformer layers. */
  readonly numLayers: number;
  /** Query heads of a layer. */
  readonly numHeads: number;
  /** Key and value heads of a layer; divides `numHeads`. */
  readonly numKvHeads: number;
  /** Width of a head. */
  readonly headDim: number;
  /** Longest context the model was made for, in tokens. */
  readonly maxPosition: number;
  /** RMSNorm or LayerNorm. */
  readonly norm: "rms" | "layer";
  /** The norm follows the residual instead of opening the sublayer (OPT-350m). */
  readonly normAfter: boolean;
  /** The MLP's nonlinearity. */
  readonly activation: "silu" | "gelu_tanh" | "relu" | "gelu";
  /** `down(act(gate x) * up x)` instead of `down(act(up x))`. */
  readonly gated: boolean;
  /** How positions enter. */
  readonly position: "rope" | "learned";
  /** Added to the position before the learned lookup (OPT: 2). */
  readonly positionOffset: number;
  /** `half` pairs (i, i + ropeDim/2); `interleaved` pairs (2i, 2i + 1), as GGUF's llama does. */
  readonly ropeStyle: "half" | "interleaved";
  /** Leading dimensions of a head that rotate; 0 without RoPE. */
  readonly ropeDim: number;
  /** `ropeDim / 2` inverse frequencies with the model's RoPE scaling applied; empty without RoPE. */
  readonly ropeInvFreq: Float32Array;
  /** Factor of cos and sin (YaRN's attention factor); usually 1. */
  readonly ropeScale: number;
  /** A token sees itself and the `slidingWindow - 1` tokens before it; 0 means all. */
  readonly slidingWindow: number;
  /** Layers before this one see all tokens. */
  readonly slidingWindowFirstLayer: number;
  /** Added to the variance. */
  readonly normEps: number;
  /** Factor of q · k; usually 1/√headDim. */
  readonly attentionScale: number;
  /** The token embedding is the lm_head too. */
  readonly tiedEmbeddings: boolean;
  /** 64 bits that name the weights, so that KV blocks of two models never mix. */
  readonly fingerprint: bigint;
}

/** What a tensor is to the model, as `HEARTH_TENSOR_*` in hearth.h. Weights are `[out, in]`. */
export type TensorRole =
  | "token_embedding"
  | "position_embedding"
  | "project_in"
  | "project_out"
  | "final_norm_weight"
  | "final_norm_bias"
  | "lm_head"
  | "attention_norm_weight"
  | "attention_norm_bias"
  | "q_weight"
  | "q_bias"
  | "k_weight"
  | "k_bias"
  | "v_weight"
  | "v_bias"
  | "o_weight"
  | "o_bias"
  | "q_norm_weight"
  | "k_norm_weight"
  | "mlp_norm_weight"
  | "mlp_norm_bias"
  | "gate_weight"
  | "gate_bias"
  | "up_weight"
  | "up_bias"
  | "down_weight"
  | "down_bias";

/** Where a tensor lies. */
export interface TensorEntry {
  /** Its name in the file, for messages. */
  readonly name: string;
  /** What it is to the model. */
  readonly role: TensorRole;
  /** 0 for tensors that belong to no layer. */
  readonly layer: number;
  /** Type of its elements in the file. */
  readonly dtype: DType;
  /** Row-major, outermost first; one or two dimensions. */
  readonly shape: readonly number[];
  /** Index into {@linkcode Model.files}. */
  readonly file: number;
  /** Offset of the first byte in that file. */
  readonly offset: number;
  /** What dtype and shape make. */
  readonly bytes: number;
}

/**
 * A part of a text that somebody wrote: in a caller's, added tokens are text as any other; in an
 * assistant's, those that are special are.
 */
export type LiteralSpan = readonly [start: number, end: number, by: "caller" | "assistant"];

/** How a text is encoded. */
export interface TextOptions {
  /** Adds BOS and the like where the model wants them. [true] */
  readonly addSpecialTokens?: boolean;
  /** Where texts stand that must not form added tokens; in order, and apart. [none] */
  readonly literal?: readonly LiteralSpan[];
}

/** Text to token ids and back. Implementations are pure: no state between calls. */
export interface Tokenizer {
  /** Ids in the vocabulary, added tokens included. */
  readonly vocabSize: number;
  /** The token that begins texts, where the model has one. */
  readonly bosToken: string | undefined;
  /** The token that ends texts, where the model has one. */
  readonly eosToken: string | undefined;
  /**
   * Token ids of a text. Special tokens spelled out in the text become their ids (as vLLM and
   * Transformers do), but where {@linkcode TextOptions.literal} says otherwise. A BOS that the text
   * already begins with is never doubled.
   */
  encode(text: string, options?: TextOptions): number[];
  /** The same in steps of a few milliseconds; without it, a long text holds its thread. */
  encodeSteps?(text: string, options?: TextOptions): Steps<number[]>;
  /**
   * Text of token ids: their bytes one behind another, but for the space that some tokenizers drop where
   * a text begins. Bytes that are no valid UTF-8 become U+FFFD.
   */
  decode(tokens: readonly number[], options?: { readonly skipSpecialTokens?: boolean }): string;
  /** The vocabulary's own string of one id (for logprobs), or undefined out of range. */
  tokenText(token: number): string | undefined;
  /**
   * Raw bytes of one id; may be half a character. Best the same array each time: what is made of a token
   * is remembered by it. Nobody changes it.
   */
  tokenBytes(token: number): Uint8Array;
  /** True for control tokens that `skipSpecialTokens` leaves out. */
  isSpecial(token: number): boolean;
}

/** What stands around the reasoning that begins a model's outputs. */
export interface ReasoningMarkers {
  /** e.g. `<think>` */
  readonly start: string;
  /** e.g. `</think>` */
  readonly end: string;
}

/**
 * What a template computes with, by name: JSON. What is wrapped in a `Said` (`model/jinja/values.ts`) comes
 * from outside, all else counts as the template's own.
 */
export type TemplateVariables = Readonly<Record<string, unknown>>;

/** Renders conversations to the text that the model was trained on. */
export interface ChatTemplate {
  /** Of a model that reasons before it answers; undefined for others. */
  readonly reasoning: ReasoningMarkers | undefined;
  /** Whether it goes through a message's content as a list of parts; others take it as a text. */
  readonly takesParts: boolean;
  /** Jinja, where the model's files have it. */
  readonly source?: string;
  /**
   * The text for the model. The template knows the tokenizer's BOS and EOS beside the variables.
   *
   * @throws {Error} with the reason where the template refuses, or is none that can be rendered
   */
  render(variables: TemplateVariables): RenderedText;
}

/** A model that has been read, all but its weights. */
export interface Model {
  /** Short name for `/v1/models`: file name without `.gguf`, folder name, or Hub id. */
  readonly name: string;
  /** e.g. `llama`, `qwen2`, as the file names it. */
  readonly architecture: string;
  /** Its shapes and constants. */
  readonly spec: ModelSpec;
  /** Every tensor that the spec calls for. */
  readonly tensors: readonly TensorEntry[];
  /** Absolute paths. */
  readonly files: readonly string[];
  /** Text to token ids and back. */
  readonly tokenizer: Tokenizer;
  /** Absent where the model carries none: chat requests are then an error. */
  readonly chatTemplate: ChatTemplate | undefined;
  /** Takes its place in conversations with tools, where the model has one for them (`tool_use`). */
  readonly toolUseTemplate?: ChatTemplate | undefined;
  /** Transformers' name for the tokenizer's kind, where the files have it. */
  readonly tokenizerClass?: string | undefined;
  /** Ids that end a text: eos, and what generation_config or the chat turn's end adds. */
  readonly eosTokenIds: readonly number[];
  /** What its makers recommend; the engine does not apply it by itself, the server does. */
  readonly samplingDefaults: SamplingDefaults;
}

/** Fields of a request that a model's files may recommend values for. */
export interface SamplingDefaults {
  /** See `SamplingParameters`. */
  readonly temperature?: number;
  /** See `SamplingParameters`. */
  readonly topP?: number;
  /** See `SamplingParameters`. */
  readonly topK?: number;
  /** See `SamplingParameters`. */
  readonly minP?: number;
  /** See `SamplingParameters`. */
  readonly repetitionPenalty?: number;
}

/** A model that cannot be used: what is wrong with which file. Shown to the user without a stack. */
export class ModelError extends Error {
  /** For `error.name` and messages. */
  override name = "ModelError";

  /** Messages quote names out of files that may be hostile: they stay on one line, of bounded length. */
  constructor(message: string) {
    super(message.replace(/\p{Cc}+/gu, " ").slice(0, 4000));
  }
}
