/**
 * What each field of a `config.json` means to each family, and what it means to leave one out.
 *
 * @module
 */
import assert from "node:assert/strict";
import { Fields } from "../../model/fields.ts";
import { readHfConfig } from "../../model/hf_config.ts";
import { rope, type RopeScaling } from "../../model/rope.ts";

type Json = Readonly<Record<string, unknown>>;

const read = (config: Json) =>
  readHfConfig(new Fields("m", "config.json:", new Map(Object.entries(config))));
const specOf = (config: Json) => read(config).spec;

/** What no family has a default for. */
const llama = {
  model_type: "llama",
  vocab_size: 100,
  hidden_size: 96,
  intermediate_size: 40,
  num_hidden_layers: 3,
  num_attention_heads: 6,
};
const opt = {
  model_type: "opt",
  vocab_size: 100,
  hidden_size: 96,
  ffn_dim: 40,
  num_hidden_layers: 3,
  num_attention_heads: 6,
};

/** Of a Llama that leaves out all that it may. */
const llamaSpec = {
  vocabSize: 100,
  hiddenSize: 96,
  embeddingSize: 96,
  intermediateSize: 40,
  numLayers: 3,
  numHeads: 6,
  numKvHeads: 6,
  headDim: 16,
  maxPosition: 2048,
  norm: "rms",
  normAfter: false,
  activation: "silu",
  gated: true,
  position: "rope",
  positionOffset: 0,
  ropeStyle: "half",
  ropeDim: 16,
  ropeInvFreq: rope(16, 10_000, { type: "none" }).invFreq,
  ropeScale: 1,
  slidingWindow: 0,
  slidingWindowFirstLayer: 0,
  normEps: 1e-6,
  attentionScale: 0.25,
  tiedEmbeddings: false,
};
const optSpec = {
  ...llamaSpec,
  norm: "layer",
  activation: "relu",
  gated: false,
  position: "learned",
  positionOffset: 2,
  ropeDim: 0,
  ropeInvFreq: new Float32Array(0),
  normEps: 1e-5,
  tiedEmbeddings: true,
};
const wide = {
  headDim: 128,
  ropeDim: 128,
  ropeInvFreq: rope(128, 10_000, { type: "none" }).invFreq,
  attentionScale: 1 / Math.sqrt(128),
};

const defaults: Record<string, [config: Json, spec: Json]> = {
  llama: [llama, llamaSpec],
  mistral: [
    { ...llama, model_type: "mistral" },
    { ...llamaSpec, maxPosition: 131_072, slidingWindow: 4096 },
  ],
  qwen2: [{ ...llama, model_type: "qwen2" }, { ...llamaSpec, maxPosition: 32_768 }],
  qwen3: [{ ...llama, model_type: "qwen3" }, { ...llamaSpec, ...wide, maxPosition: 32_768 }],
  opt: [opt, optSpec],
};

for (const [name, [config, spec]] of Object.entries(defaults)) {
  Deno.test(`readHfConfig() of ${name} takes the defaults of Transformers`, () => {
    const { architecture, spec: found } = read(config);
    assert.equal(architecture, name);
    assert.deepEqual(found, spec);
  });
}

/** Fields that a Llama may have, and what of the spec they change. */
const fields: readonly (readonly [config: Json, changes: Json])[] = [
  [{ num_key_value_heads: 2 }, { numKvHeads: 2 }],
  [{ num_key_value_heads: null }, {}],
  [{ max_position_embeddings: 77 }, { maxPosition: 77 }],
  [{ rms_norm_eps: 0.5 }, { normEps: 0.5 }],
  [{ tie_word_embeddings: true }, { tiedEmbeddings: true }],
  [{ hidden_act: "swish" }, {}],
  [{ hidden_act: "relu" }, { activation: "relu" }],
  [{ hidden_act: "gelu" }, { activation: "gelu" }],
  [{ hidden_act: "gelu_new" }, { activation: "gelu_tanh" }],
  [{ hidden_act: "gelu_pytorch_tanh" }, { activation: "gelu_tanh" }],
  [{ head_dim: 128 }, wide],
  [{ hidden_size: 100 }, { hiddenSize: 100, embeddingSize: 100 }], // 16 of 16.67 remain
  [{ rope_theta: 500 }, { ropeInvFreq: rope(16, 500, { type: "none" }).invFreq }],
];

Deno.test("readHfConfig() of Llama takes what the file says", () => {
  for (const [config, changes] of fields) {
    const name = JSON.stringify(config);
    assert.deepEqual(specOf({ ...llama, ...config }), { ...llamaSpec, ...changes }, name);
  }
});

const optFields: readonly (readonly [config: Json, changes: Json])[] = [
  [{ word_embed_proj_dim: 32 }, { embeddingSize: 32 }],
  [{ do_layer_norm_before: false }, { normAfter: true }],
  [{ activation_function: "gelu" }, { activation: "gelu" }],
  [{ max_position_embeddings: 77 }, { maxPosition: 77 }],
  [{ tie_word_embeddings: false }, { tiedEmbeddings: false }],
  [{ layer_norm_elementwise_affine: true }, {}],
];

Deno.test("readHfConfig() of OPT takes what the file says", () => {
  for (const [config, changes] of optFields) {
    const name = JSON.stringify(config);
    assert.deepEqual(specOf({ ...opt, ...config }), { ...optSpec, ...changes }, name);
  }
});

/** Ways to stretch RoPE; of 2048 positions where nothing else is said. */
const scalings: readonly (readonly [fields: Json, scaling: RopeScaling])[] = [
  [{ rope_type: "default" }, { type: "none" }],
  [{}, { type: "none" }],
  [{ type: "linear", factor: 3 }, { type: "linear", factor: 3 }],
  [
    { rope_type: "llama3", factor: 8, low_freq_factor: 2, high_freq_factor: 5 },
    {
      type: "llama3",
      factor: 8,
      lowFreqFactor: 2,
      highFreqFactor: 5,
      originalMaxPosition: 2048,
    },
  ],
  [
    {
      rope_type: "llama3",
      factor: 8,
      low_freq_factor: 2,
      high_freq_factor: 5,
      original_max_position_embeddings: 256,
    },
    {
      type: "llama3",
      factor: 8,
      lowFreqFactor: 2,
      highFreqFactor: 5,
      originalMaxPosition: 256,
    },
  ],
];
const yarn = {
  type: "yarn",
  factor: 4,
  originalMaxPosition: 512,
  betaFast: 32,
  betaSlow: 1,
  attentionFactor: undefined,
  truncate: true,
} as const;
const yarnFields = { rope_type: "yarn", original_max_position_embeddings: 512 };
const yarns: readonly (readonly [fields: Json, scaling: RopeScaling])[] = [
  [{}, yarn], // 2048 of 512
  [{ factor: 4 }, yarn],
  [{ factor: 2 }, { ...yarn, factor: 2 }],
  [{ beta_fast: 20 }, { ...yarn, betaFast: 20 }],
  [{ beta_slow: 3 }, { ...yarn, betaSlow: 3 }],
  [{ truncate: false }, { ...yarn, truncate: false }],
  [{ attention_factor: 1.5 }, { ...yarn, attentionFactor: 1.5 }],
  [{ attention_factor: 1.5, mscale: 2, mscale_all_dim: 3 }, { ...yarn, attentionFactor: 1.5 }],
  [{ mscale: 2 }, yarn],
  [{ mscale_all_dim: 2 }, yarn],
  [
    { mscale: 2, mscale_all_dim: 3 },
    { ...yarn, attentionFactor: (0.2 * Math.log(4) + 1) / (0.3 * Math.log(4) + 1) },
  ],
];

Deno.test("readHfConfig() reads how RoPE is stretched", () => {
  const all = [
    ...scalings,
    ...yarns.map(([fields, scaling]) => [{ ...yarnFields, ...fields }, scaling] as const),
  ];
  for (const [fields, scaling] of all) {
    for (const key of ["rope_scaling", "rope_parameters"]) {
      const { ropeInvFreq, ropeScale } = specOf({ ...llama, [key]: fields });
      const expected = rope(16, 10_000, scaling);
      assert.deepEqual(ropeInvFreq, expected.invFreq, JSON.stringify(fields));
      assert.ok(Math.abs(ropeScale - expected.scale) < 1e-12, JSON.stringify(fields));
    }
  }
});

Deno.test("readHfConfig() lets YaRN reach as far as it stretches", () => {
  const reach = (fields: Json, config: Json = {}) =>
    specOf({ ...llama, ...config, rope_scaling: { ...yarnFields, ...fields } }).maxPosition;
  assert.equal(reach({ factor: 4 }), 2048);
  assert.equal(reach({ factor: 8 }), 4096);
  assert.equal(reach({ factor: 4.001, original_max_position_embeddings: 1000 }), 4001);
  assert.equal(reach({ factor: 2 }), 2048, "never less than the file says");
  const linear = { rope_type: "linear", factor: 8, original_max_position_embeddings: 2048 };
  assert.equal(specOf({ ...llama, rope_scaling: linear }).maxPosition, 2048);
});

const LLAMA_NAMES = {
  token_embedding: "p.embed_tokens.weight",
  final_norm_weight: "p.norm.weight",
  attention_norm_weight: "p.layers.{}.input_layernorm.weight",
  q_weight: "p.layers.{}.self_attn.q_proj.weight",
  k_weight: "p.layers.{}.self_attn.k_proj.weight",
  v_weight: "p.layers.{}.self_attn.v_proj.weight",
  o_weight: "p.layers.{}.self_attn.o_proj.weight",
  mlp_norm_weight: "p.layers.{}.post_attention_layernorm.weight",
  gate_weight: "p.layers.{}.mlp.gate_proj.weight",
  up_weight: "p.layers.{}.mlp.up_proj.weight",
  down_weight: "p.layers.{}.mlp.down_proj.weight",
};
const QKV_BIASES = {
  q_bias: "p.layers.{}.self_attn.q_proj.bias",
  k_bias: "p.layers.{}.self_attn.k_proj.bias",
  v_bias: "p.layers.{}.self_attn.v_proj.bias",
};
const O_BIAS = { o_bias: "p.layers.{}.self_attn.o_proj.bias" };
const QK_NORMS = {
  q_norm_weight: "p.layers.{}.self_attn.q_norm.weight",
  k_norm_weight: "p.layers.{}.self_attn.k_norm.weight",
};
const MLP_BIASES = {
  gate_bias: "p.layers.{}.mlp.gate_proj.bias",
  up_bias: "p.layers.{}.mlp.up_proj.bias",
  down_bias: "p.layers.{}.mlp.down_proj.bias",
};
const OPT_NAMES = {
  token_embedding: "p.embed_tokens.weight",
  position_embedding: "p.embed_positions.weight",
  attention_norm_weight: "p.layers.{}.self_attn_layer_norm.weight",
  attention_norm_bias: "p.layers.{}.self_attn_layer_norm.bias",
  q_weight: "p.layers.{}.self_attn.q_proj.weight",
  k_weight: "p.layers.{}.self_attn.k_proj.weight",
  v_weight: "p.layers.{}.self_attn.v_proj.weight",
  o_weight: "p.layers.{}.self_attn.out_proj.weight",
  mlp_norm_weight: "p.layers.{}.final_layer_norm.weight",
  mlp_norm_bias: "p.layers.{}.final_layer_norm.bias",
  up_weight: "p.layers.{}.fc1.weight",
  down_weight: "p.layers.{}.fc2.weight",
};
const OPT_BIASES = {
  ...QKV_BIASES,
  o_bias: "p.layers.{}.self_attn.out_proj.bias",
  up_bias: "p.layers.{}.fc1.bias",
  down_bias: "p.layers.{}.fc2.bias",
};
const OPT_FINAL_NORM = {
  final_norm_weight: "p.final_layer_norm.weight",
  final_norm_bias: "p.final_layer_norm.bias",
};

const names: readonly (readonly [config: Json, names: Json])[] = [
  [llama, LLAMA_NAMES],
  [{ ...llama, attention_bias: true }, { ...LLAMA_NAMES, ...QKV_BIASES, ...O_BIAS }],
  [{ ...llama, mlp_bias: true }, { ...LLAMA_NAMES, ...MLP_BIASES }],
  [{ ...llama, model_type: "mistral", attention_bias: true, mlp_bias: true }, LLAMA_NAMES],
  [
    { ...llama, model_type: "qwen2", attention_bias: true, mlp_bias: true },
    { ...LLAMA_NAMES, ...QKV_BIASES },
  ],
  [{ ...llama, model_type: "qwen3" }, { ...LLAMA_NAMES, ...QK_NORMS }],
  [
    { ...llama, model_type: "qwen3", attention_bias: true },
    { ...LLAMA_NAMES, ...QK_NORMS, ...QKV_BIASES, ...O_BIAS },
  ],
  [opt, { ...OPT_NAMES, ...OPT_BIASES, ...OPT_FINAL_NORM }],
  [{ ...opt, enable_bias: false }, { ...OPT_NAMES, ...OPT_FINAL_NORM }],
  [{ ...opt, do_layer_norm_before: false }, { ...OPT_NAMES, ...OPT_BIASES }],
  [{ ...opt, _remove_final_layer_norm: true }, { ...OPT_NAMES, ...OPT_BIASES }],
  [{ ...opt, word_embed_proj_dim: 32 }, {
    ...OPT_NAMES,
    ...OPT_BIASES,
    ...OPT_FINAL_NORM,
    project_in: "p.project_in.weight",
    project_out: "p.project_out.weight",
  }],
];

Deno.test("readHfConfig() names the tensors of each family", () => {
  for (const [config, expected] of names) {
    const { tensorNames } = read(config);
    const name = JSON.stringify(config);
    const tied = tensorNames("p.", true);
    assert.deepEqual(tied.required, expected, name);
    assert.deepEqual(tied.optional, {});
    const apart = tensorNames("p.", false);
    assert.deepEqual(apart.required, { ...expected, lm_head: "lm_head.weight" }, name);
    const isIgnored = (tensor: string, { ignored }: typeof tied) =>
      ignored.some((pattern) => pattern.test(tensor));
    for (const names of [tied, apart]) {
      assert.ok(isIgnored("p.layers.0.self_attn.rotary_emb.inv_freq", names));
      assert.ok(!isIgnored("p.layers.0.self_attn.rotary_emb.inv_freqs", names));
    }
    assert.ok(isIgnored("lm_head.weight", tied));
    assert.ok(!isIgnored("lm_head.weight", apart));
  }
  assert.deepEqual(read(llama).prefixes, ["model.", ""]);
  assert.deepEqual(read(opt).prefixes, ["model.decoder.", "decoder."]);
});

/** Whole numbers: the least and the most that each may be. */
const ranges: readonly (readonly [config: Json, key: string, least: number, most: number])[] = [
  [llama, "vocab_size", 1, 4_194_304],
  [llama, "hidden_size", 1, 1_048_576],
  [llama, "intermediate_size", 1, 1_048_576],
  [llama, "num_hidden_layers", 1, 1024],
  [llama, "num_attention_heads", 1, 1024],
  [llama, "num_key_value_heads", 1, 6],
  [llama, "head_dim", 2, 256],
  [llama, "max_position_embeddings", 1, 16_777_216],
  [{ ...llama, model_type: "mistral" }, "sliding_window", 1, 16_777_216],
  [
    { ...llama, model_type: "qwen2", use_sliding_window: true },
    "max_window_layers",
    0,
    1024,
  ],
  [opt, "vocab_size", 1, 4_194_304],
  [opt, "hidden_size", 1, 1_048_576],
  [opt, "word_embed_proj_dim", 1, 1_048_576],
  [opt, "ffn_dim", 1, 1_048_576],
  [opt, "num_hidden_layers", 1, 1024],
  [opt, "num_attention_heads", 1, 1024],
  [opt, "max_position_embeddings", 1, 16_777_216],
];

Deno.test("readHfConfig() keeps each number within what a model can have", () => {
  for (const [config, key, least, most] of ranges) {
    for (const value of [least - 1, most + 1]) {
      assert.throws(() => read({ ...config, [key]: value }), {
        name: "ModelError",
        message: `Cannot open model m: config.json: ${key} must be a whole number from ${least} ` +
          `to ${most}: current value is ${value}`,
      });
    }
    // Other fields may contradict it.
    for (const value of [least, most]) {
      try {
        read({ ...config, [key]: value });
      } catch (error) {
        assert.doesNotMatch((error as Error).message, new RegExp(`${key} must be a whole`));
      }
    }
  }
});

const stretched = (fields: Json) => ({ ...llama, rope_scaling: fields });
const llama3Fields = {
  rope_type: "llama3",
  factor: 8,
  low_freq_factor: 2,
  high_freq_factor: 5,
};
const above = (key: string) => `config.json: ${key} must be a number above 0: current value is 0`;
const refused: readonly (readonly [config: Json, problem: string])[] = [
  [
    { ...llama, quantization_config: {} },
    "quantized Hugging Face checkpoints are not supported; take its GGUF (Q8_0, Q4_0, Q4_1) " +
    "or the unquantized one",
  ],
  [
    { ...llama, hidden_act: "mish" },
    "hidden_act mish is not supported; supported: silu, swish, relu, gelu, gelu_new, " +
    "gelu_pytorch_tanh",
  ],
  [
    { ...opt, activation_function: "mish" },
    "activation_function mish is not supported; supported: silu, swish, relu, gelu, gelu_new, " +
    "gelu_pytorch_tanh",
  ],
  [{ ...llama, rms_norm_eps: 0 }, above("rms_norm_eps")],
  [{ ...llama, rope_theta: 0 }, above("rope_theta")],
  [stretched({ rope_theta: 0 }), above("rope_scaling.rope_theta")],
  [stretched({ type: "linear", factor: 0 }), above("rope_scaling.factor")],
  [stretched({ ...llama3Fields, factor: 0 }), above("rope_scaling.factor")],
  [stretched({ ...llama3Fields, low_freq_factor: 0 }), above("rope_scaling.low_freq_factor")],
  [stretched({ ...llama3Fields, high_freq_factor: 0 }), above("rope_scaling.high_freq_factor")],
  [
    stretched({ ...llama3Fields, original_max_position_embeddings: 0 }),
    "config.json: rope_scaling.original_max_position_embeddings must be a whole number from 1 to " +
    "16777216: current value is 0",
  ],
  [stretched({ ...yarnFields, factor: 0 }), above("rope_scaling.factor")],
  [stretched({ ...yarnFields, beta_fast: 0 }), above("rope_scaling.beta_fast")],
  [stretched({ ...yarnFields, beta_slow: 0 }), above("rope_scaling.beta_slow")],
  [stretched({ ...yarnFields, attention_factor: 0 }), above("rope_scaling.attention_factor")],
  [stretched({ ...yarnFields, mscale: 0, mscale_all_dim: 1 }), above("rope_scaling.mscale")],
  [
    stretched({ ...yarnFields, mscale: 1, mscale_all_dim: 0 }),
    above("rope_scaling.mscale_all_dim"),
  ],
  [
    stretched({ partial_rotary_factor: 0 }),
    above("rope_scaling.partial_rotary_factor"),
  ],
  [
    stretched({ rope_type: "longrope" }),
    "RoPE scaling longrope is not supported; supported: default, linear, llama3, yarn",
  ],
  [{ ...opt, hidden_size: 97 }, "hidden_size 97 cannot be cut into 6 heads"],
  [
    { ...opt, num_attention_heads: 1, hidden_size: 257 },
    "hidden_size 257 cannot be cut into 1 heads",
  ],
  [
    { ...opt, layer_norm_elementwise_affine: false },
    "layer_norm_elementwise_affine must be true: current value is false",
  ],
];

Deno.test("readHfConfig() says what it cannot read", () => {
  for (const [config, problem] of refused) {
    assert.throws(() => read(config), {
      name: "ModelError",
      message: `Cannot open model m: ${problem}`,
    });
  }
  assert.equal(specOf({ ...opt, num_attention_heads: 1, hidden_size: 256 }).headDim, 256);
  assert.equal(specOf(stretched({ partial_rotary_factor: 1 })).ropeScale, 1);
});

const qwen = { ...llama, model_type: "qwen2", use_sliding_window: true, sliding_window: 8 };
const windows: readonly (readonly [config: Json, window: readonly [number, number]])[] = [
  [{ ...qwen, max_window_layers: 2 }, [8, 2]],
  [{ ...qwen, max_window_layers: 3 }, [0, 0]],
  [{ ...qwen, max_window_layers: 0 }, [8, 0]],
  [{ ...qwen, num_hidden_layers: 28 }, [0, 0]],
  [{ ...qwen, num_hidden_layers: 29 }, [8, 28]],
  [{ ...qwen, model_type: "qwen3", max_window_layers: 1 }, [8, 1]],
  [{ ...qwen, sliding_window: undefined, max_window_layers: 1 }, [4096, 1]],
  [{ ...qwen, layer_types: Array(3).fill("full_attention") }, [0, 0]],
  [{ ...qwen, layer_types: Array(3).fill("sliding_attention") }, [8, 0]],
];

Deno.test("readHfConfig() reads which layers of Qwen have a window", () => {
  for (const [config, expected] of windows) {
    const { slidingWindow, slidingWindowFirstLayer } = specOf(config);
    const name = JSON.stringify(config);
    assert.deepEqual([slidingWindow, slidingWindowFirstLayer], expected, name);
  }
  for (const types of [["full_attention"], Array(4).fill("sliding_attention"), ["a", "b", "c"]]) {
    assert.throws(
      () => read({ ...qwen, layer_types: types }),
      /layer_types must be full_attention layers followed by sliding_attention layers/,
    );
  }
});
