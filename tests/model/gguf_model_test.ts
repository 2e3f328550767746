import assert from "node:assert/strict";
import { rope, type RopeScaling } from "../../model/rope.ts";
import { loadModel } from "../../model/load.ts";
import { type Model, ModelError } from "../../model/spec.ts";
import { assertRefused, ScratchFolder } from "./files.ts";
import { gguf, type GgufToWrite } from "./gguf_writer.ts";
import { tinyGguf, tinyMetadata, tinyTensors, withKeys, withTensors } from "./tiny_gguf.ts";

async function load(changes: Partial<GgufToWrite> = {}): Promise<Model> {
  using folder = new ScratchFolder();
  return await loadModel(folder.write("tiny.Q4_1.gguf", tinyGguf(changes)));
}

const key = (name: string, type: number, value: unknown) => ({
  metadata: withKeys({ [name]: [type, value] }),
});
const tensor = (name: string, change: Parameters<typeof withTensors>[0][string]) => ({
  tensors: withTensors({ [name]: change }),
});

Deno.test("loadModel() describes a GGUF model", async () => {
  const { spec, ...model } = await load();
  assert.equal(model.name, "tiny.Q4_1");
  assert.equal(model.architecture, "llama");
  assert.deepEqual(model.eosTokenIds, [2, 0]);
  assert.deepEqual({ ...spec, fingerprint: 0n }, {
    vocabSize: 288,
    hiddenSize: 64,
    embeddingSize: 64,
    intermediateSize: 96,
    numLayers: 1,
    numHeads: 2,
    numKvHeads: 1,
    headDim: 32,
    maxPosition: 128,
    norm: "rms",
    normAfter: false,
    activation: "silu",
    gated: true,
    position: "rope",
    positionOffset: 0,
    ropeStyle: "interleaved",
    ropeDim: 32,
    ropeInvFreq: rope(32, 10_000, { type: "none" }).invFreq,
    ropeScale: 1,
    slidingWindow: 0,
    slidingWindowFirstLayer: 0,
    normEps: Math.fround(1e-5),
    attentionScale: 1 / Math.sqrt(32),
    tiedEmbeddings: true,
    fingerprint: 0n,
  });
});

Deno.test("loadModel() gives each GGUF tensor its role, row-major shape and place", async () => {
  const { tensors } = await load();
  assert.equal(tensors.length, tinyTensors.length);
  const byRole = new Map(tensors.map((tensor) => [tensor.role, tensor]));
  assert.deepEqual(byRole.get("token_embedding")?.shape, [288, 64]);
  assert.equal(byRole.get("token_embedding")?.dtype, "Q8_0");
  assert.deepEqual(byRole.get("down_weight")?.shape, [64, 96]);
  assert.deepEqual(byRole.get("k_weight")?.shape, [32, 64]);
  assert.equal(byRole.get("k_weight")?.bytes, 32 * 64 / 32 * 18);
  assert.equal(byRole.get("o_weight")?.dtype, "BF16");
});

Deno.test("loadModel() takes the templates of a GGUF model, one for tools beside the default", async () => {
  const { chatTemplate, toolUseTemplate } = await load();
  assert.ok(chatTemplate);
  assert.equal(toolUseTemplate, undefined);
  const key = "tokenizer.chat_template.tool_use";
  const model = await load({ metadata: withKeys({ [key]: [gguf.string, "{{ tools }}"] }) });
  assert.equal(model.toolUseTemplate?.render({ tools: [1] }).text, "[1]");
});

Deno.test("loadModel() takes an lm_head of its own", async () => {
  const tensors = withTensors({ "output.weight": { dims: [64, 288] } });
  const { spec, tensors: table } = await load({ tensors });
  assert.equal(spec.tiedEmbeddings, false);
  assert.ok(table.some(({ role }) => role === "lm_head"));
});

Deno.test("loadModel() reads qwen2 with half-split RoPE and its biases", async () => {
  const metadata = tinyMetadata.map(([key, type, value]) =>
    [
      key.replace("llama.", "qwen2."),
      type,
      key === "general.architecture" ? "qwen2" : key.endsWith(".pre") ? "qwen2" : value,
    ] as const
  );
  const biases = { "blk.0.attn_q.bias": {}, "blk.0.attn_k.bias": { dims: [32] } };
  await assertRefused(
    () => load({ metadata, tensors: withTensors(biases) }),
    /blk.0.attn_v.bias is missing/,
  );
  const tensors = withTensors({ ...biases, "blk.0.attn_v.bias": { dims: [32] } });
  const { spec, architecture } = await load({ metadata, tensors });
  assert.deepEqual([architecture, spec.ropeStyle], ["qwen2", "half"]);
});

Deno.test("loadModel() divides RoPE's frequencies by rope_freqs.weight", async () => {
  using folder = new ScratchFolder();
  const tensors = withTensors({ "rope_freqs.weight": { dims: [16] } });
  const bytes = tinyGguf({ tensors });
  const view = new DataView(bytes.buffer);
  const start = bytes.length - 64; // the last tensor: 16 values of 4 bytes, 32-aligned
  for (let i = 0; i < 16; i++) view.setFloat32(start + 4 * i, i < 8 ? 1 : 8, true);
  const { spec, tensors: table } = await loadModel(folder.write("m.gguf", bytes));
  const plain = (await load()).spec.ropeInvFreq;
  assert.deepEqual(spec.ropeInvFreq, plain.map((f, i) => i < 8 ? f : f / 8));
  assert.ok(!table.some(({ name }) => name === "rope_freqs.weight"));

  for (const value of [NaN, 0, -1, Infinity]) {
    view.setFloat32(start + 8, value, true);
    const spoiled = folder.write("m.gguf", bytes);
    const message = `rope_freqs.weight must hold positive numbers: value 2 is ${value}`;
    await assertRefused(() => loadModel(spoiled), new RegExp(message));
  }
});

Deno.test("loadModel() honours GGUF's RoPE scaling", async () => {
  const plain = (await load()).spec.ropeInvFreq;
  const linear = await load({
    metadata: withKeys({
      "llama.rope.scaling.type": [gguf.string, "linear"],
      "llama.rope.scaling.factor": [gguf.f32, 4],
    }),
  });
  assert.deepEqual(linear.spec.ropeInvFreq, plain.map((f) => f / 4));
  const yarn = await load({
    metadata: withKeys({
      "llama.rope.scaling.type": [gguf.string, "yarn"],
      "llama.rope.scaling.factor": [gguf.f32, 4],
      "llama.rope.scaling.original_context_length": [gguf.u32, 32],
    }),
  });
  assert.ok(Math.abs(yarn.spec.ropeScale - (0.1 * Math.log(4) + 1)) < 1e-6);
  assert.equal(yarn.spec.ropeInvFreq[0], 1);
  assert.equal(yarn.spec.ropeInvFreq[15], Math.fround((plain[15] as number) / 4));
});

/** Keys behind `llama.`, and what of the spec they change. */
const specKeys:
  readonly (readonly [changes: Partial<GgufToWrite>, spec: Partial<Model["spec"]>])[] = [
    [key("llama.attention.sliding_window", gguf.u32, 9), { slidingWindow: 9 }],
    [
      key("llama.rope.dimension_count", gguf.u32, 8),
      { ropeDim: 8, ropeInvFreq: rope(8, 10_000, { type: "none" }).invFreq },
    ],
    [
      key("llama.rope.freq_base", gguf.f32, 500),
      { ropeInvFreq: rope(32, 500, { type: "none" }).invFreq },
    ],
    [key("llama.attention.value_length", gguf.u32, 32), {}],
    [key("llama.expert_count", gguf.u32, 0), {}],
    [key("split.count", gguf.u16, 1), {}],
    [{ tensors: withTensors({ "blk.0.attn_rot_embd": {} }) }, {}],
  ];

Deno.test("loadModel() takes what GGUF's metadata says of the shapes", async () => {
  const { spec: plain } = await load();
  for (const [changes, expected] of specKeys) {
    const { spec } = await load(changes);
    const { fingerprint } = spec;
    assert.deepEqual(spec, { ...plain, ...expected, fingerprint });
  }
  const metadata = withKeys({ "llama.attention.head_count_kv": undefined });
  const tensors = withTensors({
    "blk.0.attn_k.weight": { dims: [64, 64] },
    "blk.0.attn_v.weight": { dims: [64, 64] },
  });
  assert.equal((await load({ metadata, tensors })).spec.numKvHeads, 2);
});

/** Of 16 frequencies; keys behind `llama.rope.`. */
const yarn = {
  type: "yarn",
  factor: 4,
  originalMaxPosition: 32,
  betaFast: 32,
  betaSlow: 1,
  attentionFactor: undefined,
  truncate: true,
} as const;
type Keys = Readonly<Record<string, string | number>>;
const yarnKeys = {
  "scaling.type": "yarn",
  "scaling.factor": 4,
  "scaling.original_context_length": 32,
};
const scalings: readonly (readonly [keys: Keys, scaling: RopeScaling])[] = [
  [{}, { type: "none" }],
  [{ "scaling.type": "none", "scaling.factor": 4 }, { type: "none" }],
  [{ "scaling.type": "linear", "scaling.factor": 4 }, { type: "linear", factor: 4 }],
  [{ scale_linear: 4 }, { type: "linear", factor: 4 }],
  [{ scale_linear: 1 }, { type: "none" }],
  [{ scale_linear: 4, "scaling.factor": 2 }, { type: "linear", factor: 2 }],
  [yarnKeys, yarn],
  [{ ...yarnKeys, "scaling.yarn_beta_fast": 16 }, { ...yarn, betaFast: 16 }],
  [{ ...yarnKeys, "scaling.yarn_beta_slow": 2 }, { ...yarn, betaSlow: 2 }],
  [
    { ...yarnKeys, "scaling.attn_factor": 2 },
    { ...yarn, attentionFactor: 2 * (0.1 * Math.log(4) + 1) },
  ],
];

Deno.test("loadModel() reads each way in which GGUF stretches RoPE", async () => {
  for (const [keys, scaling] of scalings) {
    const metadata = withKeys(Object.fromEntries(
      Object.entries(keys).map(([name, value]) => [
        `llama.rope.${name}`,
        typeof value === "string"
          ? [gguf.string, value]
          : name.endsWith("length")
          ? [gguf.u32, value]
          : [gguf.f32, value],
      ]),
    ));
    const { spec } = await load({ metadata });
    const expected = rope(32, 10_000, scaling);
    assert.deepEqual(spec.ropeInvFreq, expected.invFreq, JSON.stringify(keys));
    assert.ok(Math.abs(spec.ropeScale - expected.scale) < 1e-12, JSON.stringify(keys));
  }
});

/** Roles of a file with these tensors beside those that each has. */
async function rolesOf(architecture: string, more: Record<string, number>) {
  const metadata = tinyMetadata.map(([key, type, value]) =>
    [
      key.replace("llama.", `${architecture}.`),
      type,
      key === "general.architecture" ? architecture : value,
    ] as const
  );
  const added = Object.entries(more).map(([name, size]) =>
    [`blk.0.${name}`, { dims: [size] }] as const
  );
  const { tensors } = await load({ metadata, tensors: withTensors(Object.fromEntries(added)) });
  return Object.fromEntries(tensors.map(({ name, role }) => [name, role]));
}

const everywhere = {
  "token_embd.weight": "token_embedding",
  "output_norm.weight": "final_norm_weight",
  "blk.0.attn_norm.weight": "attention_norm_weight",
  "blk.0.attn_q.weight": "q_weight",
  "blk.0.attn_k.weight": "k_weight",
  "blk.0.attn_v.weight": "v_weight",
  "blk.0.attn_output.weight": "o_weight",
  "blk.0.ffn_norm.weight": "mlp_norm_weight",
  "blk.0.ffn_gate.weight": "gate_weight",
  "blk.0.ffn_up.weight": "up_weight",
  "blk.0.ffn_down.weight": "down_weight",
};
const qkvSizes = { "attn_q.bias": 64, "attn_k.bias": 32, "attn_v.bias": 32 };
const qkv = {
  "blk.0.attn_q.bias": "q_bias",
  "blk.0.attn_k.bias": "k_bias",
  "blk.0.attn_v.bias": "v_bias",
};
const outputSize = { "attn_output.bias": 64 };
const output = { "blk.0.attn_output.bias": "o_bias" };
const normSizes = { "attn_q_norm.weight": 32, "attn_k_norm.weight": 32 };
const norms = {
  "blk.0.attn_q_norm.weight": "q_norm_weight",
  "blk.0.attn_k_norm.weight": "k_norm_weight",
};

Deno.test("loadModel() gives the tensors of each GGUF architecture their roles", async () => {
  assert.deepEqual(await rolesOf("llama", {}), everywhere);
  assert.deepEqual(await rolesOf("llama", { ...qkvSizes, ...outputSize }), {
    ...everywhere,
    ...qkv,
    ...output,
  });
  assert.deepEqual(await rolesOf("qwen2", qkvSizes), { ...everywhere, ...qkv });
  assert.deepEqual(await rolesOf("qwen2", { ...qkvSizes, ...outputSize }), {
    ...everywhere,
    ...qkv,
    ...output,
  });
  assert.deepEqual(await rolesOf("qwen3", normSizes), { ...everywhere, ...norms });
  assert.deepEqual(await rolesOf("qwen3", { ...normSizes, ...qkvSizes }), {
    ...everywhere,
    ...norms,
    ...qkv,
  });
  for (const [architecture, missing] of [["qwen2", "attn_q.bias"], ["qwen3", "attn_q_norm"]]) {
    const message = new RegExp(`tensor blk.0.${missing}.* is missing`);
    await assertRefused(() => rolesOf(architecture!, {}), message);
  }
  await assertRefused(() => rolesOf("llama", normSizes), /unknown tensor blk.0.attn_q_norm.weight/);
  await assertRefused(() => rolesOf("qwen3", outputSize), /unknown tensor blk.0.attn_output.bias/);
});

Deno.test("two GGUF files that differ in a byte of metadata have different fingerprints", async () => {
  const one = await load();
  const other = await load({ metadata: withKeys({ "general.name": [gguf.string, "other"] }) });
  assert.notEqual(one.spec.fingerprint, other.spec.fingerprint);
});

Deno.test("openGguf() takes the sampling that the metadata recommends", async () => {
  const metadata = withKeys({
    "general.sampling.temp": [gguf.f32, 0.5],
    "general.sampling.top_k": [gguf.u32, 40],
    "general.sampling.top_p": [gguf.f32, 3],
  });
  assert.deepEqual((await load({ metadata })).samplingDefaults, { temperature: 0.5, topK: 40 });
  assert.deepEqual((await load()).samplingDefaults, {});
});

const refused: Record<string, readonly [changes: Partial<GgufToWrite>, message: RegExp]> = {
  "an unsupported architecture": [
    key("general.architecture", gguf.string, "gemma3"),
    /architecture gemma3 is not supported in GGUF; supported: llama, qwen2, qwen3/,
  ],
  "no architecture": [
    { metadata: withKeys({ "general.architecture": undefined }) },
    /general.architecture is missing/,
  ],
  "an architecture that is a number": [
    key("general.architecture", gguf.u32, 7),
    /general.architecture must be a string: current value is 7/,
  ],
  "no layers": [key("llama.block_count", gguf.u32, 0), /block_count must be a whole number from 1/],
  "a billion layers": [key("llama.block_count", gguf.u32, 1e9), /block_count must be/],
  "a layer count that is text": [key("llama.block_count", gguf.string, "1"), /block_count must be/],
  "layers that the file lacks": [
    key("llama.block_count", gguf.u32, 2),
    /tensor blk.1.attn_norm.weight is missing/,
  ],
  "heads that do not share evenly": [
    key("llama.attention.head_count", gguf.u32, 3),
    /must be even|cannot share|must have the shape/,
  ],
  "more key-value heads than heads": [
    key("llama.attention.head_count_kv", gguf.u32, 4),
    /head_count_kv must be a whole number from 1 to 2: current value is 4/,
  ],
  "head counts a layer": [
    key("llama.attention.head_count", gguf.array, [gguf.u32, [2]]),
    /head_count must be a whole number .*: current value is a list/,
  ],
  "a head dimension beyond the kernels": [
    key("llama.attention.key_length", gguf.u32, 512),
    /key_length must be a whole number from 1 to 256/,
  ],
  "an epsilon of NaN": [
    key("llama.attention.layer_norm_rms_epsilon", gguf.f32, NaN),
    /layer_norm_rms_epsilon must be a number above 0: current value is NaN/,
  ],
  "a frequency base of zero": [
    key("llama.rope.freq_base", gguf.f32, 0),
    /rope.freq_base must be a number above 0/,
  ],
  "an unknown RoPE scaling": [
    key("llama.rope.scaling.type", gguf.string, "longrope"),
    /RoPE scaling longrope is not supported/,
  ],
  "a RoPE scaling of no length": [
    key("llama.rope.scaling.type", gguf.string, "yarn"),
    /llama.rope.scaling.original_context_length is missing/,
  ],
  ...Object.fromEntries(
    ["factor", "yarn_beta_fast", "yarn_beta_slow", "attn_factor"].map((name) => [
      `a ${name} of zero`,
      [
        {
          metadata: withKeys({
            "llama.rope.scaling.type": [gguf.string, "yarn"],
            "llama.rope.scaling.original_context_length": [gguf.u32, 32],
            [`llama.rope.scaling.${name}`]: [gguf.f32, 0],
          }),
        },
        new RegExp(`llama.rope.scaling.${name} must be a number above 0: current value is 0`),
      ] as const,
    ]),
  ),
  "a linear scale of zero": [
    key("llama.rope.scale_linear", gguf.f32, 0),
    /llama.rope.scale_linear must be a number above 0/,
  ],
  "an odd head dimension": [
    key("llama.attention.key_length", gguf.u32, 31),
    /the head dimension must be even: it is 31/,
  ],
  "values of another size than keys": [
    key("llama.attention.value_length", gguf.u32, 16),
    /attention.key_length and attention.value_length must be equal/,
  ],
  "an odd number of rotating dimensions": [
    key("llama.rope.dimension_count", gguf.u32, 7),
    /rope.dimension_count must be even: it is 7/,
  ],
  "more rotating dimensions than a head has": [
    key("llama.rope.dimension_count", gguf.u32, 34),
    /rope.dimension_count must be a whole number from 1 to 32: current value is 34/,
  ],
  "key-value heads that cannot be shared": [
    {
      metadata: withKeys({
        "llama.attention.head_count": [gguf.u32, 4],
        "llama.attention.head_count_kv": [gguf.u32, 3],
      }),
    },
    /4 heads cannot share 3 key-value heads evenly/,
  ],
  ...Object.fromEntries(
    ([
      ["embedding_length", 1, 1_048_576],
      ["feed_forward_length", 1, 1_048_576],
      ["block_count", 1, 1024],
      ["context_length", 1, 16_777_216],
      ["attention.head_count", 1, 1024],
      ["attention.sliding_window", 0, 16_777_216],
      ["expert_count", 0, 1_048_576],
    ] as const).map(([name, least, most]) => [
      `a ${name} beyond all models`,
      [
        key(`llama.${name}`, gguf.u32, most + 1),
        new RegExp(`${name} must be a whole number from ${least} to ${most}: current`),
      ] as const,
    ]),
  ),
  "frequencies of half precision": [
    tensor("rope_freqs.weight", { dims: [16], type: 1 }),
    /rope_freqs.weight must hold 16 F32 values: it has \[16\] of F16/,
  ],
  "fewer frequencies than pairs": [
    tensor("rope_freqs.weight", { dims: [8] }),
    /rope_freqs.weight must hold 16 F32 values: it has \[8\] of F32/,
  ],
  "one of two parts": [key("split.count", gguf.u16, 2), /one of 2 parts; join them first/],
  "a mixture of one expert": [key("llama.expert_count", gguf.u32, 1), /mixtures of experts/],
  "a mixture of experts": [key("llama.expert_count", gguf.u32, 8), /mixtures of experts/],
  "one part of several": [key("split.count", gguf.u16, 3), /one of 3 parts/],
  "a K-quant": [
    tensor("blk.0.ffn_up.weight", { dims: [256, 24], type: 12 }),
    /blk.0.ffn_up.weight has type Q4_K, which is not supported; supported: F32, F16/,
  ],
  "a missing tensor": [tensor("blk.0.ffn_up.weight", undefined), /blk.0.ffn_up.weight is missing/],
  "no embedding": [tensor("token_embd.weight", undefined), /token_embd.weight is missing/],
  "an unknown tensor": [
    tensor("blk.0.surprise.weight", {}),
    /unknown tensor blk.0.surprise.weight/,
  ],
  "a tensor of a layer beyond the last": [
    tensor("blk.1.attn_norm.weight", {}),
    /unknown tensor blk.1.attn_norm.weight/,
  ],
  "a transposed tensor": [
    tensor("blk.0.ffn_up.weight", { dims: [96, 64] }),
    /blk.0.ffn_up.weight must have the shape \[96,64\]: it has \[64,96\]/,
  ],
  "a tensor of three dimensions": [
    tensor("blk.0.ffn_up.weight", { dims: [64, 96, 1] }),
    /must have the shape \[96,64\]/,
  ],
  "a control character in a tensor's name": [
    tensor("evil\u001b[2Jname\n", {}),
    /unknown tensor evil \[2Jname /,
  ],
  "an unknown tokenizer": [
    key("tokenizer.ggml.model", gguf.string, "t5"),
    /tokenizer model t5 is not supported; supported: gpt2, llama/,
  ],
  "no tokenizer": [
    { metadata: withKeys({ "tokenizer.ggml.model": undefined }) },
    /tokenizer.ggml.model is missing/,
  ],
  "an unknown pre-tokenizer": [
    key("tokenizer.ggml.pre", gguf.string, "default"),
    /pre-tokenizer default is not supported; supported: gpt-2, smollm, llama3/,
  ],
  "no pre-tokenizer": [
    { metadata: withKeys({ "tokenizer.ggml.pre": undefined }) },
    /tokenizer.ggml.pre is missing/,
  ],
  "a SentencePiece piece of 200 characters": [
    {
      metadata: withKeys({
        "tokenizer.ggml.model": [gguf.string, "llama"],
        "tokenizer.ggml.tokens": [gguf.array, [gguf.string, ["a", "b".repeat(200)]]],
        "tokenizer.ggml.token_type": [gguf.array, [gguf.i32, [1, 1]]],
        "tokenizer.ggml.scores": [gguf.array, [gguf.f32, [0, -1]]],
      }),
    },
    /token 1 must have at most 128 characters/,
  ],
  "more tokens than the embedding has rows": [
    key("tokenizer.ggml.tokens", gguf.array, [
      gguf.string,
      Array.from({ length: 289 }, (_, i) => `t${i}`),
    ]),
    /tokenizer.ggml.tokens must hold 1 to 288 tokens/,
  ],
  "tokens that are numbers": [
    key("tokenizer.ggml.tokens", gguf.array, [gguf.u32, [1, 2, 3]]),
    /tokenizer.ggml.tokens must be an array of strings/,
  ],
  "fewer token types than tokens": [
    key("tokenizer.ggml.token_type", gguf.array, [gguf.i32, [1, 1]]),
    /token_type must hold \d+ values: it holds 2/,
  ],
  "an end of text beyond the vocabulary": [
    key("tokenizer.ggml.eos_token_id", gguf.u32, 4_000_000_000),
    /eos_token_id must be a whole number from 0 to/,
  ],
  "BOS wanted and none named": [
    {
      metadata: withKeys({
        "tokenizer.ggml.add_bos_token": [gguf.bool, true],
        "tokenizer.ggml.bos_token_id": undefined,
      }),
    },
    /add_bos_token is true, but there is no BOS token/,
  ],
};

for (const [name, [changes, message]] of Object.entries(refused)) {
  Deno.test(`loadModel() refuses a GGUF model with ${name}`, async () => {
    await assertRefused(() => load(changes), message);
  });
}

Deno.test("ModelError keeps a hostile message on one line of bounded length", () => {
  const { message } = new ModelError(`a\nb\u0007${"x".repeat(10_000)}`);
  assert.equal(message.length, 4000);
  assert.ok(message.startsWith("a b x"));
});
