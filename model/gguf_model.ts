/**
 * A GGUF file as a model: architecture metadata to a ModelSpec, tensors to roles.
 *
 * @module
 */
import { fingerprint } from "./fingerprint.ts";
import { type GgufTensor, readGguf } from "./gguf.ts";
import { Fields } from "./fields.ts";
import { ggufTokenizer } from "./gguf_tokenizer.ts";
import { MAX_HEAD_DIM, MAX_HEADS, MAX_LAYERS, MAX_POSITION, MAX_WIDTH } from "./model_limits.ts";
import { createChatTemplate, TOOL_USE } from "./chat_template.ts";
import { rope, type RopeScaling, yarnAttentionFactor } from "./rope.ts";
import { ggufSamplingDefaults } from "./sampling_defaults.ts";
import type { Model, ModelSpec } from "./spec.ts";
import { type TensorNames, type TensorPatterns, tensorTable } from "./tensor_table.ts";

const ATTENTION_NORMS: TensorPatterns = {
  q_norm_weight: "blk.{}.attn_q_norm.weight",
  k_norm_weight: "blk.{}.attn_k_norm.weight",
};
const QKV_BIASES: TensorPatterns = {
  q_bias: "blk.{}.attn_q.bias",
  k_bias: "blk.{}.attn_k.bias",
  v_bias: "blk.{}.attn_v.bias",
};
const OUTPUT_BIAS: TensorPatterns = { o_bias: "blk.{}.attn_output.bias" };

/** What differs between the architectures that a GGUF file can name. */
interface Family {
  /**
   * llama.cpp's converter reorders the query and key rows of `llama` so that pairs lie side by
   * side.
   */
  readonly ropeStyle: "half" | "interleaved";
  readonly required: TensorPatterns;
  readonly optional: TensorPatterns;
}

/** By `general.architecture`; Mistral, SmolLM2 and TinyLlama files say `llama`. */
const FAMILIES: ReadonlyMap<string, Family> = new Map<string, Family>([
  ["llama", {
    ropeStyle: "interleaved",
    required: {},
    optional: { ...QKV_BIASES, ...OUTPUT_BIAS },
  }],
  ["qwen2", { ropeStyle: "half", required: QKV_BIASES, optional: OUTPUT_BIAS }],
  ["qwen3", { ropeStyle: "half", required: ATTENTION_NORMS, optional: QKV_BIASES }],
]);

/**
 * Open a GGUF file.
 *
 * @param path absolute path of the file
 * @throws {ModelError}
 */
export function openGguf(path: string): Model {
  const header = readGguf(path);
  const metadata = new Fields(path, "metadata key", header.metadata);
  const architecture = metadata.string("general.architecture");
  const family = FAMILIES.get(architecture) ?? metadata.fail(
    `architecture ${architecture} is not supported in GGUF; supported: ` +
      [...FAMILIES.keys()].join(", "),
  );
  const splits = metadata.integer("split.count", 0, 65_535, 0);
  if (splits > 1) {
    metadata.fail(`it is one of ${splits} parts; join them first (llama-gguf-split --merge)`);
  }

  const spec: ModelSpec = {
    ...readSpec(path, metadata, architecture, family, header.tensors),
    fingerprint: fingerprint([path], [header.headerBytes]),
  };
  const tensors = header.tensors.map((tensor) => ({ ...tensor, file: 0 }));
  const { tokenizer, eosTokenIds } = ggufTokenizer(metadata, spec.vocabSize);
  const templateOf = (key: string) => {
    const template = metadata.string(key, "");
    return template === "" ? undefined : createChatTemplate(template, tokenizer);
  };
  return {
    name: (path.split("/").at(-1) ?? path).replace(/\.gguf$/i, ""),
    architecture,
    spec,
    tensors: tensorTable(path, spec, tensorNames(spec, family), tensors),
    files: [path],
    tokenizer,
    chatTemplate: templateOf("tokenizer.chat_template"),
    toolUseTemplate: templateOf(`tokenizer.chat_template.${TOOL_USE}`),
    eosTokenIds,
    samplingDefaults: ggufSamplingDefaults((key) => metadata.raw(key)),
  };
}

function readSpec(
  path: string,
  metadata: Fields,
  architecture: string,
  family: Family,
  tensors: readonly GgufTensor[],
): Omit<ModelSpec, "fingerprint"> {
  const size = (key: string, max: number, fallback?: number) =>
    metadata.integer(`${architecture}.${key}`, 1, max, fallback);
  if (metadata.integer(`${architecture}.expert_count`, 0, MAX_WIDTH, 0) > 0) {
    metadata.fail("mixtures of experts are not supported");
  }

  const hiddenSize = size("embedding_length", MAX_WIDTH);
  const numHeads = size("attention.head_count", MAX_HEADS);
  const numKvHeads = size("attention.head_count_kv", numHeads, numHeads);
  if (numHeads % numKvHeads !== 0) {
    metadata.fail(`${numHeads} heads cannot share ${numKvHeads} key-value heads evenly`);
  }
  const headDim = size("attention.key_length", MAX_HEAD_DIM, Math.floor(hiddenSize / numHeads));
  if (headDim % 2 !== 0) metadata.fail(`the head dimension must be even: it is ${headDim}`);
  if (size("attention.value_length", MAX_HEAD_DIM, headDim) !== headDim) {
    metadata.fail("attention.key_length and attention.value_length must be equal");
  }
  const ropeDim = size("rope.dimension_count", headDim, headDim);
  if (ropeDim % 2 !== 0) metadata.fail(`rope.dimension_count must be even: it is ${ropeDim}`);
  const embedding = tensors.find((tensor) => tensor.name === "token_embd.weight") ??
    metadata.fail("tensor token_embd.weight is missing");

  const base = metadata.number(`${architecture}.rope.freq_base`, 0, 10_000);
  const { invFreq, scale } = rope(ropeDim, base, ropeScaling(metadata, architecture));
  const factors = tensors.find((tensor) => tensor.name === "rope_freqs.weight");
  return {
    vocabSize: embedding.shape[0] ?? 0,
    hiddenSize,
    embeddingSize: hiddenSize,
    intermediateSize: size("feed_forward_length", MAX_WIDTH),
    numLayers: size("block_count", MAX_LAYERS),
    numHeads,
    numKvHeads,
    headDim,
    maxPosition: size("context_length", MAX_POSITION),
    norm: "rms",
    normAfter: false,
    activation: "silu",
    gated: true,
    position: "rope",
    positionOffset: 0,
    ropeStyle: family.ropeStyle,
    ropeDim,
    ropeInvFreq: factors ? dividedBy(invFreq, path, factors, metadata) : invFreq,
    ropeScale: scale,
    slidingWindow: metadata.integer(
      `${architecture}.attention.sliding_window`,
      0,
      MAX_POSITION,
      0,
    ),
    slidingWindowFirstLayer: 0,
    normEps: metadata.number(`${architecture}.attention.layer_norm_rms_epsilon`, 0),
    attentionScale: 1 / Math.sqrt(headDim),
    tiedEmbeddings: !tensors.some((tensor) => tensor.name === "output.weight"),
  };
}

/** `{arch}.rope.scaling.*`, with the older `{arch}.rope.scale_linear`. */
function ropeScaling(metadata: Fields, architecture: string): RopeScaling {
  const prefix = `${architecture}.rope.scaling`;
  const legacy = metadata.number(`${architecture}.rope.scale_linear`, 0, 1);
  const type = metadata.string(`${prefix}.type`, legacy === 1 ? "none" : "linear");
  const factor = metadata.number(`${prefix}.factor`, 0, legacy);
  switch (type) {
    case "none":
      return { type };
    case "linear":
      return { type, factor };
    case "yarn":
      return {
        type,
        factor,
        originalMaxPosition: metadata.integer(`${prefix}.original_context_length`, 1, MAX_POSITION),
        betaFast: metadata.number(`${prefix}.yarn_beta_fast`, 0, 32),
        betaSlow: metadata.number(`${prefix}.yarn_beta_slow`, 0, 1),
        attentionFactor: metadata.number(`${prefix}.attn_factor`, 0, 1) *
          yarnAttentionFactor(factor),
        truncate: true,
      };
    default:
      return metadata.fail(
        `RoPE scaling ${type} is not supported; supported: none, linear, yarn`,
      );
  }
}

/** Llama 3's scaling, which GGUF files carry as one divisor a frequency. */
function dividedBy(
  invFreq: Float32Array,
  path: string,
  factors: GgufTensor,
  metadata: Fields,
): Float32Array {
  if (factors.type !== "F32" || factors.bytes !== invFreq.byteLength) {
    metadata.fail(
      `tensor rope_freqs.weight must hold ${invFreq.length} F32 values: ` +
        `it has [${factors.shape}] of ${factors.type}`,
    );
  }
  const bytes = new Uint8Array(factors.bytes);
  using file = Deno.openSync(path);
  file.seekSync(factors.offset, Deno.SeekMode.Start);
  for (let filled = 0; filled < bytes.length;) {
    const read = file.readSync(bytes.subarray(filled));
    if (read === null) metadata.fail("tensor rope_freqs.weight runs past the end of the file");
    filled += read;
  }
  const view = new DataView(bytes.buffer);
  return invFreq.map((frequency, i) => {
    const factor = view.getFloat32(4 * i, true);
    if (!(factor > 0 && factor < Infinity)) {
      metadata.fail(`tensor rope_freqs.weight must hold positive numbers: value ${i} is ${factor}`);
    }
    return frequency / factor;
  });
}

function tensorNames(spec: ModelSpec, family: Family): TensorNames {
  return {
    required: {
      token_embedding: "token_embd.weight",
      final_norm_weight: "output_norm.weight",
      ...(spec.tiedEmbeddings ? {} : { lm_head: "output.weight" }),
      attention_norm_weight: "blk.{}.attn_norm.weight",
      q_weight: "blk.{}.attn_q.weight",
      k_weight: "blk.{}.attn_k.weight",
      v_weight: "blk.{}.attn_v.weight",
      o_weight: "blk.{}.attn_output.weight",
      mlp_norm_weight: "blk.{}.ffn_norm.weight",
      gate_weight: "blk.{}.ffn_gate.weight",
      up_weight: "blk.{}.ffn_up.weight",
      down_weight: "blk.{}.ffn_down.weight",
      ...family.required,
    },
    optional: family.optional,
    ignored: [/^rope_freqs\.weight$/, /^blk\.\d+\.attn_rot_embd$/],
  };
}
