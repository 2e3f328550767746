/**
 * `config.json` of a Hugging Face folder to a ModelSpec and the names of its tensors.
 *
 * Defaults are those of Transformers' configuration classes: what a file leaves out means what it
 * means there.
 *
 * @module
 */
import type { Fields } from "./fields.ts";
import {
  MAX_HEAD_DIM,
  MAX_HEADS,
  MAX_LAYERS,
  MAX_POSITION,
  MAX_VOCAB,
  MAX_WIDTH,
} from "./model_limits.ts";
import { rope, type RopeScaling, yarnAttentionFactor } from "./rope.ts";
import type { ModelSpec } from "./spec.ts";
import type { TensorNames, TensorPatterns } from "./tensor_table.ts";

/** A spec whose weights are not known yet. */
export type UnnamedSpec = Omit<ModelSpec, "fingerprint">;

/** What {@linkcode readHfConfig} found. */
export interface HfConfig {
  readonly architecture: string;
  readonly spec: UnnamedSpec;
  /**
   * @param prefix before the names of the decoder's tensors
   * @param tied the token embedding is the lm_head too
   */
  readonly tensorNames: (prefix: string, tied: boolean) => TensorNames;
  /** Prefixes in use for this family, the usual one first. */
  readonly prefixes: readonly string[];
}

/** What differs between the families that share Llama's layout, by `model_type`. */
interface LlamaFamily {
  readonly maxPosition: number;
  readonly normEps: number;
  readonly headDim: number | undefined;
  readonly attentionBias: "none" | "qkv" | "config";
  readonly attentionNorms: boolean;
}

const LLAMA_FAMILIES: ReadonlyMap<string, LlamaFamily> = new Map<string, LlamaFamily>([
  ["llama", {
    maxPosition: 2048,
    normEps: 1e-6,
    headDim: undefined,
    attentionBias: "config",
    attentionNorms: false,
  }],
  ["mistral", {
    maxPosition: 131_072,
    normEps: 1e-6,
    headDim: undefined,
    attentionBias: "none",
    attentionNorms: false,
  }],
  ["qwen2", {
    maxPosition: 32_768,
    normEps: 1e-6,
    headDim: undefined,
    attentionBias: "qkv",
    attentionNorms: false,
  }],
  ["qwen3", {
    maxPosition: 32_768,
    normEps: 1e-6,
    headDim: 128,
    attentionBias: "config",
    attentionNorms: true,
  }],
]);

const ACTIVATIONS: Readonly<Record<string, ModelSpec["activation"]>> = {
  silu: "silu",
  swish: "silu",
  relu: "relu",
  gelu: "gelu",
  gelu_new: "gelu_tanh",
  gelu_pytorch_tanh: "gelu_tanh",
};

/**
 * Read `config.json`.
 *
 * @throws {ModelError} when a field is missing, out of range or asks for what is not supported
 */
export function readHfConfig(config: Fields): HfConfig {
  const architecture = config.string("model_type");
  if (config.has("quantization_config")) {
    config.fail(
      "quantized Hugging Face checkpoints are not supported; take its GGUF (Q8_0, Q4_0, Q4_1) " +
        "or the unquantized one",
    );
  }
  if (architecture === "opt") return readOpt(config);
  const family = LLAMA_FAMILIES.get(architecture) ?? config.fail(
    `architecture ${architecture} is not supported; supported: ` +
      [...LLAMA_FAMILIES.keys(), "opt"].join(", "),
  );
  return readLlama(config, architecture, family);
}

function readLlama(config: Fields, architecture: string, family: LlamaFamily): HfConfig {
  const hiddenSize = config.integer("hidden_size", 1, MAX_WIDTH);
  const numHeads = config.integer("num_attention_heads", 1, MAX_HEADS);
  const numKvHeads = config.integer("num_key_value_heads", 1, numHeads, numHeads);
  if (numHeads % numKvHeads !== 0) {
    config.fail(`${numHeads} heads cannot share ${numKvHeads} key-value heads evenly`);
  }
  const headDim = config.integer(
    "head_dim",
    2,
    MAX_HEAD_DIM,
    family.headDim ?? Math.floor(hiddenSize / numHeads),
  );
  if (headDim % 2 !== 0) config.fail(`head_dim must be even: current value is ${headDim}`);
  const trained = config.integer("max_position_embeddings", 1, MAX_POSITION, family.maxPosition);
  const scaling = ropeScaling(config, trained);
  const { invFreq, scale } = rope(headDim, ropeTheta(config), scaling);
  const numLayers = config.integer("num_hidden_layers", 1, MAX_LAYERS);
  const spec: UnnamedSpec = {
    vocabSize: config.integer("vocab_size", 1, MAX_VOCAB),
    hiddenSize,
    embeddingSize: hiddenSize,
    intermediateSize: config.integer("intermediate_size", 1, MAX_WIDTH),
    numLayers,
    numHeads,
    numKvHeads,
    headDim,
    maxPosition: scaling.type === "yarn"
      ? Math.max(trained, Math.floor(scaling.originalMaxPosition * scaling.factor))
      : trained,
    norm: "rms",
    normAfter: false,
    activation: activation(config, "hidden_act", "silu"),
    gated: true,
    position: "rope",
    positionOffset: 0,
    ropeStyle: "half",
    ropeDim: headDim,
    ropeInvFreq: invFreq,
    ropeScale: scale,
    ...slidingWindow(config, architecture, numLayers),
    normEps: config.number("rms_norm_eps", 0, family.normEps),
    attentionScale: 1 / Math.sqrt(headDim),
    tiedEmbeddings: config.boolean("tie_word_embeddings", false),
  };
  const biased = family.attentionBias === "config" && config.boolean("attention_bias", false);
  const required: TensorPatterns = {
    ...LLAMA_LAYER,
    ...(biased || family.attentionBias === "qkv" ? QKV_BIASES : {}),
    ...(biased ? { o_bias: "layers.{}.self_attn.o_proj.bias" } : {}),
    ...(family.attentionNorms ? ATTENTION_NORMS : {}),
    ...(architecture === "llama" && config.boolean("mlp_bias", false) ? MLP_BIASES : {}),
  };
  return {
    architecture,
    spec,
    prefixes: ["model.", ""],
    tensorNames: (prefix, tied) => named(prefix, required, tied),
  };
}

function readOpt(config: Fields): HfConfig {
  const hiddenSize = config.integer("hidden_size", 1, MAX_WIDTH);
  const embeddingSize = config.integer("word_embed_proj_dim", 1, MAX_WIDTH, hiddenSize);
  const numHeads = config.integer("num_attention_heads", 1, MAX_HEADS);
  if (hiddenSize % numHeads !== 0 || hiddenSize / numHeads > MAX_HEAD_DIM) {
    config.fail(`hidden_size ${hiddenSize} cannot be cut into ${numHeads} heads`);
  }
  if (!config.boolean("layer_norm_elementwise_affine", true)) {
    config.fail("layer_norm_elementwise_affine must be true: current value is false");
  }
  const normAfter = !config.boolean("do_layer_norm_before", true);
  const spec: UnnamedSpec = {
    vocabSize: config.integer("vocab_size", 1, MAX_VOCAB),
    hiddenSize,
    embeddingSize,
    intermediateSize: config.integer("ffn_dim", 1, MAX_WIDTH),
    numLayers: config.integer("num_hidden_layers", 1, MAX_LAYERS),
    numHeads,
    numKvHeads: numHeads,
    headDim: hiddenSize / numHeads,
    maxPosition: config.integer("max_position_embeddings", 1, MAX_POSITION, 2048),
    norm: "layer",
    normAfter,
    activation: activation(config, "activation_function", "relu"),
    gated: false,
    position: "learned",
    positionOffset: 2, // rows 0 and 1 were fairseq's padding
    ropeStyle: "half",
    ropeDim: 0,
    ropeInvFreq: new Float32Array(0),
    ropeScale: 1,
    slidingWindow: 0,
    slidingWindowFirstLayer: 0,
    normEps: 1e-5,
    attentionScale: 1 / Math.sqrt(hiddenSize / numHeads),
    tiedEmbeddings: config.boolean("tie_word_embeddings", true),
  };
  const finalNorm = !normAfter && !config.boolean("_remove_final_layer_norm", false);
  const required: TensorPatterns = {
    ...OPT_LAYER,
    ...(config.boolean("enable_bias", true) ? OPT_BIASES : {}),
    ...(finalNorm ? OPT_FINAL_NORM : {}),
    ...(embeddingSize === hiddenSize ? {} : OPT_PROJECTIONS),
  };
  return {
    architecture: "opt",
    spec,
    prefixes: ["model.decoder.", "decoder."],
    tensorNames: (prefix, tied) => named(prefix, required, tied),
  };
}

function activation(config: Fields, key: string, fallback: string): ModelSpec["activation"] {
  const name = config.string(key, fallback);
  return (Object.hasOwn(ACTIVATIONS, name) ? ACTIVATIONS[name] : undefined) ?? config.fail(
    `${key} ${name} is not supported; supported: ${Object.keys(ACTIVATIONS).join(", ")}`,
  );
}

/** Which layers see only a window: Mistral's all, Qwen's upper ones where the switch is on. */
function slidingWindow(
  config: Fields,
  architecture: string,
  numLayers: number,
): Pick<ModelSpec, "slidingWindow" | "slidingWindowFirstLayer"> {
  const none = { slidingWindow: 0, slidingWindowFirstLayer: 0 };
  const isQwen = architecture.startsWith("qwen");
  if (architecture === "llama" || isQwen && !config.boolean("use_sliding_window", false)) {
    return none;
  }
  // Mistral's files say null where there is no window; one that is silent means the class's 4096.
  if (config.isNull("sliding_window")) return none;
  const window = config.integer("sliding_window", 1, MAX_POSITION, 4096);
  const first = isQwen ? firstWindowedLayer(config, numLayers) : 0;
  return first >= numLayers ? none : { slidingWindow: window, slidingWindowFirstLayer: first };
}

function firstWindowedLayer(config: Fields, numLayers: number): number {
  if (!config.has("layer_types")) return config.integer("max_window_layers", 0, MAX_LAYERS, 28);
  const types = config.strings("layer_types");
  const first = types.indexOf("sliding_attention");
  const inOrder = types.length === numLayers &&
    types.every((type, layer) =>
      type === (first >= 0 && layer >= first ? "sliding_attention" : "full_attention")
    );
  if (!inOrder) {
    config.fail("layer_types must be full_attention layers followed by sliding_attention layers");
  }
  return first < 0 ? numLayers : first;
}

/** Transformers 5 has one name for all of RoPE, and takes the older one as the same. */
function ropeFields(config: Fields): Fields | undefined {
  return config.nested("rope_parameters") ?? config.nested("rope_scaling");
}

/** Theta stands with the scaling since Transformers 5; before, in the config itself. */
function ropeTheta(config: Fields): number {
  const fields = ropeFields(config);
  return (fields?.has("rope_theta") ? fields : config).number("rope_theta", 0, 10_000);
}

function ropeScaling(config: Fields, maxPosition: number): RopeScaling {
  const fields = ropeFields(config);
  if (!fields) return { type: "none" };
  if (fields.number("partial_rotary_factor", 0, 1) !== 1) {
    config.fail("partial_rotary_factor other than 1 is not supported");
  }
  const type = fields.string("rope_type", fields.string("type", "default"));
  const original = () =>
    fields.integer("original_max_position_embeddings", 1, MAX_POSITION, maxPosition);
  switch (type) {
    case "default":
      return { type: "none" };
    case "linear":
      return { type, factor: fields.number("factor", 0) };
    case "llama3":
      return {
        type,
        factor: fields.number("factor", 0),
        lowFreqFactor: fields.number("low_freq_factor", 0),
        highFreqFactor: fields.number("high_freq_factor", 0),
        originalMaxPosition: original(),
      };
    case "yarn": {
      const factor = fields.number("factor", 0, maxPosition / original());
      return {
        type,
        factor,
        originalMaxPosition: original(),
        betaFast: fields.number("beta_fast", 0, 32),
        betaSlow: fields.number("beta_slow", 0, 1),
        attentionFactor: yarnScale(fields, factor),
        truncate: fields.boolean("truncate", true),
      };
    }
    default:
      return config.fail(
        `RoPE scaling ${type} is not supported; supported: default, linear, llama3, yarn`,
      );
  }
}

function yarnScale(fields: Fields, factor: number): number | undefined {
  if (fields.has("attention_factor")) return fields.number("attention_factor", 0);
  if (!fields.has("mscale") || !fields.has("mscale_all_dim")) return undefined;
  return yarnAttentionFactor(factor, fields.number("mscale", 0)) /
    yarnAttentionFactor(factor, fields.number("mscale_all_dim", 0));
}

function named(prefix: string, patterns: TensorPatterns, tied: boolean): TensorNames {
  const required = Object.fromEntries(
    Object.entries(patterns).map(([role, pattern]) => [role, prefix + pattern]),
  );
  return {
    required: tied ? required : { ...required, lm_head: "lm_head.weight" },
    optional: {},
    ignored: [/\.rotary_emb\.inv_freq$/, ...(tied ? [/^lm_head\.weight$/] : [])],
  };
}

const LLAMA_LAYER: TensorPatterns = {
  token_embedding: "embed_tokens.weight",
  final_norm_weight: "norm.weight",
  attention_norm_weight: "layers.{}.input_layernorm.weight",
  q_weight: "layers.{}.self_attn.q_proj.weight",
  k_weight: "layers.{}.self_attn.k_proj.weight",
  v_weight: "layers.{}.self_attn.v_proj.weight",
  o_weight: "layers.{}.self_attn.o_proj.weight",
  mlp_norm_weight: "layers.{}.post_attention_layernorm.weight",
  gate_weight: "layers.{}.mlp.gate_proj.weight",
  up_weight: "layers.{}.mlp.up_proj.weight",
  down_weight: "layers.{}.mlp.down_proj.weight",
};
const QKV_BIASES: TensorPatterns = {
  q_bias: "layers.{}.self_attn.q_proj.bias",
  k_bias: "layers.{}.self_attn.k_proj.bias",
  v_bias: "layers.{}.self_attn.v_proj.bias",
};
const ATTENTION_NORMS: TensorPatterns = {
  q_norm_weight: "layers.{}.self_attn.q_norm.weight",
  k_norm_weight: "layers.{}.self_attn.k_norm.weight",
};
const MLP_BIASES: TensorPatterns = {
  gate_bias: "layers.{}.mlp.gate_proj.bias",
  up_bias: "layers.{}.mlp.up_proj.bias",
  down_bias: "layers.{}.mlp.down_proj.bias",
};
const OPT_LAYER: TensorPatterns = {
  token_embedding: "embed_tokens.weight",
  position_embedding: "embed_positions.weight",
  attention_norm_weight: "layers.{}.self_attn_layer_norm.weight",
  attention_norm_bias: "layers.{}.self_attn_layer_norm.bias",
  q_weight: "layers.{}.self_attn.q_proj.weight",
  k_weight: "layers.{}.self_attn.k_proj.weight",
  v_weight: "layers.{}.self_attn.v_proj.weight",
  o_weight: "layers.{}.self_attn.out_proj.weight",
  mlp_norm_weight: "layers.{}.final_layer_norm.weight",
  mlp_norm_bias: "layers.{}.final_layer_norm.bias",
  up_weight: "layers.{}.fc1.weight",
  down_weight: "layers.{}.fc2.weight",
};
const OPT_BIASES: TensorPatterns = {
  ...QKV_BIASES,
  o_bias: "layers.{}.self_attn.out_proj.bias",
  up_bias: "layers.{}.fc1.bias",
  down_bias: "layers.{}.fc2.bias",
};
const OPT_FINAL_NORM: TensorPatterns = {
  final_norm_weight: "final_layer_norm.weight",
  final_norm_bias: "final_layer_norm.bias",
};
const OPT_PROJECTIONS: TensorPatterns = {
  project_in: "project_in.weight",
  project_out: "project_out.weight",
};
