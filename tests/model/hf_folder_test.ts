import assert from "node:assert/strict";
import fc from "fast-check";
import { loadModel, tokenizerSource } from "../../model/load.ts";
import { type Model, ModelError } from "../../model/spec.ts";
import { assertRefused, ScratchFolder } from "./files.ts";
import { tinyGguf } from "./tiny_gguf.ts";
import {
  tinyConfig,
  type TinyFolderChanges,
  tinyTokenizer,
  tinyWeights,
  writeSafetensors,
  writeTinyFolder,
} from "./tiny_hf.ts";

async function load(changes: TinyFolderChanges = {}): Promise<Model> {
  using folder = new ScratchFolder();
  return await loadModel(writeTinyFolder(folder, changes));
}

Deno.test("loadModel() describes a Hugging Face folder", async () => {
  const { spec, ...model } = await load();
  assert.equal(model.name, "tiny-llama");
  assert.equal(model.architecture, "llama");
  assert.deepEqual(model.eosTokenIds, [1]);
  assert.deepEqual(
    [spec.vocabSize, spec.hiddenSize, spec.intermediateSize, spec.numLayers, spec.numHeads],
    [260, 12, 20, 2, 3],
  );
  assert.deepEqual([spec.numKvHeads, spec.headDim, spec.ropeDim, spec.ropeStyle], [
    1,
    4,
    4,
    "half",
  ]);
  assert.equal(spec.tiedEmbeddings, false);
  assert.equal(model.tensors.length, 21);
  assert.equal(model.chatTemplate, undefined);
  const v = model.tensors.find(({ role, layer }) => role === "v_weight" && layer === 1);
  assert.deepEqual([v?.dtype, v?.shape, v?.bytes], ["F16", [4, 12], 96]);
});

Deno.test("loadModel() reads shards by their index", async () => {
  const entries = Object.entries(tinyWeights());
  const shards: Record<string, string[]> = {};
  for (const [i, [name]] of entries.entries()) {
    (shards[`model-${i % 3}.safetensors`] ??= []).push(name);
  }
  const files: Record<string, Uint8Array | string | undefined> = {
    "model.safetensors": undefined,
    "model.safetensors.index.json": JSON.stringify({
      weight_map: Object.fromEntries(
        Object.entries(shards).flatMap(([file, names]) => names.map((name) => [name, file])),
      ),
    }),
  };
  for (const [file, names] of Object.entries(shards)) {
    const tensors = Object.fromEntries(entries.filter(([name]) => names.includes(name)));
    files[file] = writeSafetensors(tensors);
  }
  const model = await load({ files });
  assert.equal(model.files.length, 3);
  assert.deepEqual(new Set(model.tensors.map(({ file }) => file)), new Set([0, 1, 2]));

  await assertRefused(
    () => load({ files: { ...files, "model-1.safetensors": undefined } }),
    /model-1.safetensors is missing/,
  );
  await assertRefused(
    () => load({ files: { ...files, "model-1.safetensors": files["model-0.safetensors"] } }),
    /comes twice/,
  );
});

Deno.test("loadModel() ignores RoPE buffers and the lm_head of tied embeddings", async () => {
  const { spec, tensors } = await load({
    config: { tie_word_embeddings: true },
    weights: { "model.layers.0.self_attn.rotary_emb.inv_freq": { shape: [2] } },
  });
  assert.equal(spec.tiedEmbeddings, true);
  assert.ok(!tensors.some(({ role }) => role === "lm_head"));
});

Deno.test("loadModel() uses an lm_head that differs from the embedding it is said to be tied to", async () => {
  using folder = new ScratchFolder();
  const path = writeTinyFolder(folder, { config: { tie_word_embeddings: true } });
  const headOf = (model: Model) => model.tensors.find(({ role }) => role === "lm_head");
  const tied = await loadModel(path);
  assert.equal(headOf(tied), undefined, "equal: one of them is enough");

  using file = Deno.openSync(`${path}/model.safetensors`, { write: true });
  file.seekSync(-1, Deno.SeekMode.End); // lm_head.weight is the last
  file.writeSync(Uint8Array.of(1));
  const own = await loadModel(path);
  assert.equal(headOf(own)?.name, "lm_head.weight");
  assert.equal(own.spec.tiedEmbeddings, false);
});

Deno.test("loadModel() compares a head with the embedding by type, and to its last byte", async () => {
  const rows = 30_000; // more than is compared at once
  const big = (head: string) => ({
    config: { tie_word_embeddings: true, vocab_size: rows },
    weights: {
      "model.embed_tokens.weight": { shape: [rows, 12] },
      "lm_head.weight": { shape: [rows, 12], dtype: head },
    },
  });
  using folder = new ScratchFolder();
  const path = writeTinyFolder(folder, big("F32"));
  assert.equal((await loadModel(path)).spec.tiedEmbeddings, true);
  using file = Deno.openSync(`${path}/model.safetensors`, { write: true });
  file.seekSync(-1, Deno.SeekMode.End);
  file.writeSync(Uint8Array.of(1));
  assert.equal((await loadModel(path)).spec.tiedEmbeddings, false);
  // Of zeros, which begin the same in both.
  assert.equal((await load(big("F16"))).spec.tiedEmbeddings, false);
});

Deno.test("loadModel() reads a checkpoint without the `model.` prefix", async () => {
  const weights: Record<string, ReturnType<typeof tinyWeights>[string] | undefined> = {};
  for (const [name, tensor] of Object.entries(tinyWeights())) {
    weights[name] = undefined;
    weights[name.replace(/^model\./, "")] = tensor;
  }
  assert.equal((await load({ weights })).tensors.length, 21);
});

Deno.test("loadModel() takes the end of text from generation_config.json and the tokenizer", async () => {
  const idsOf = async (generation: unknown, config?: unknown) => {
    const files = { "generation_config.json": JSON.stringify({ eos_token_id: generation }) };
    return (await load({ files, config: { eos_token_id: config } })).eosTokenIds;
  };
  assert.deepEqual(await idsOf([7, 9], 8), [7, 9, 1]);
  assert.deepEqual(await idsOf(7, 8), [7, 1]);
  assert.deepEqual(await idsOf(null, 8), [8, 1]);
  assert.deepEqual(await idsOf(undefined, [8, 1]), [8, 1]);
  assert.deepEqual(await idsOf([7, "9", 0.5, null]), [7, 1]);
  assert.deepEqual(await idsOf(undefined), [1]);
});

Deno.test("loadModel() ends no text at a piece of an EOS text that is no token", async () => {
  const files = {
    "tokenizer_config.json": JSON.stringify({ bos_token: "<bos>", eos_token: "<|im_end|>" }),
  };
  assert.deepEqual((await load({ files })).eosTokenIds, [1]);
});

Deno.test("loadModel() takes the sampling that generation_config.json recommends", async () => {
  const defaultsOf = async (config: object) => {
    const files = { "generation_config.json": JSON.stringify(config) };
    return (await load({ files })).samplingDefaults;
  };
  assert.deepEqual((await load({})).samplingDefaults, {});
  const qwen = { temperature: 0.7, top_p: 0.8, top_k: 20, min_p: 0.1, repetition_penalty: 1.05 };
  assert.deepEqual(await defaultsOf({ ...qwen, do_sample: true, max_new_tokens: 9 }), {
    temperature: 0.7,
    topP: 0.8,
    topK: 20,
    minP: 0.1,
    repetitionPenalty: 1.05,
  });
  const usual = { temperature: 1, top_p: 1, top_k: 50, min_p: 0, repetition_penalty: 1 };
  assert.deepEqual(await defaultsOf(usual), {}, "what Transformers does anyhow");
  const wrong = { temperature: -1, top_p: 1.5, top_k: 1.5, min_p: "0.1", repetition_penalty: null };
  assert.deepEqual(await defaultsOf(wrong), {});
});

Deno.test("loadModel() takes the chat template from its own file, else from the tokenizer", async () => {
  const named = JSON.stringify({
    eos_token: "<eos>",
    chat_template: [
      { name: "tool_use", template: "tools" },
      { name: "default", template: "{{ messages[0].content }}{{ eos_token }}" },
    ],
  });
  const files = { "tokenizer_config.json": named };
  const render = (model: Model) =>
    model.chatTemplate?.render({ messages: [{ role: "user", content: "hi" }] }).text;
  assert.equal(render(await load({ files })), "hi<eos>");
  const own = { ...files, "chat_template.jinja": "{{ raise_exception('no chats') }}" };
  const model = await load({ files: own });
  assert.throws(() => render(model), /no chats/);
});

Deno.test("loadModel() takes the template for tools from its own file, else from the tokenizer", async () => {
  const files = {
    "tokenizer_config.json": JSON.stringify({
      eos_token: "<eos>",
      chat_template: [
        { name: "tool_use", template: "listed{{ eos_token }}" },
        { name: "default", template: "default" },
      ],
    }),
  };
  const toolUse = async (more: Record<string, string>) =>
    (await load({ files: { ...files, ...more } })).toolUseTemplate?.render({}).text;
  assert.equal(await toolUse({}), "listed<eos>");
  assert.equal(await toolUse({ "chat_template.jinja": "own" }), undefined);
  const own = { "additional_chat_templates/tool_use.jinja": "own for tools" };
  assert.equal(await toolUse(own), "own for tools");
  assert.equal(await toolUse({ "tokenizer_config.json": '{"chat_template": "one"}' }), undefined);
});

for (const newline of ["\n", "\r\n"]) {
  Deno.test(`loadModel() reads GPT-2's two-file tokenizer with ${JSON.stringify(newline)}`, () =>
    readsTwoFiles(newline));
}

async function readsTwoFiles(newline: string): Promise<void> {
  const json = tinyTokenizer() as { model: { vocab: Record<string, number>; merges: string[] } };
  const vocab: Record<string, number> = { ...json.model.vocab, "<bos>": 0, "<eos>": 1 };
  const { tokenizer } = await load({
    files: {
      "tokenizer.json": undefined,
      "vocab.json": JSON.stringify(vocab),
      "merges.txt": ["#version: 0.2", ...json.model.merges, ""].join(newline),
      "tokenizer_config.json": JSON.stringify({
        tokenizer_class: "GPT2Tokenizer",
        bos_token: "<bos>",
        eos_token: "<eos>",
        add_bos_token: true,
      }),
    },
  });
  assert.deepEqual(tokenizer.encode("the<eos>"), [0, vocab["the"], 1]);
  assert.ok(tokenizer.isSpecial(1));
}

/** Two rows more than tokenizer.json has tokens: 260 and 261. */
const wide = {
  config: { vocab_size: 262 },
  weights: {
    "model.embed_tokens.weight": { shape: [262, 12] },
    "lm_head.weight": { shape: [262, 12] },
  },
};
const borders = { bos_token: "<bos>", eos_token: "<eos>" };
const tokenizerConfig = (changes: Record<string, unknown>) => ({
  "tokenizer_config.json": JSON.stringify({ ...borders, ...changes }),
});
const extra = { content: "<|extra|>", special: true, normalized: false };
const namedTokens: Record<string, [files: Record<string, string>, special: boolean]> = {
  "added_tokens_decoder": [tokenizerConfig({ added_tokens_decoder: { 260: extra } }), true],
  "added_tokens_decoder, not special": [
    tokenizerConfig({ added_tokens_decoder: { 260: { ...extra, special: false } } }),
    false,
  ],
  "added_tokens.json": [{ "added_tokens.json": '{"<|extra|>": 260}' }, false],
  "additional_special_tokens": [
    tokenizerConfig({ additional_special_tokens: ["<|extra|>"] }),
    true,
  ],
  "extra_special_tokens": [tokenizerConfig({ extra_special_tokens: { image: extra } }), true],
  "special_tokens_map.json": [
    { "special_tokens_map.json": '{"additional_special_tokens": ["<|extra|>"]}' },
    true,
  ],
  "eos_token": [tokenizerConfig({ eos_token: "<|extra|>" }), true],
};
for (const [name, [files, special]] of Object.entries(namedTokens)) {
  Deno.test(`loadModel() adds the tokens that only ${name} names`, async () => {
    const { tokenizer } = await load({ ...wide, files });
    const [a, , b] = tokenizer.encode("axb", { addSpecialTokens: false });
    const found = tokenizer.encode("a<|extra|>b", { addSpecialTokens: false });
    assert.deepEqual(found, [a, 260, b]);
    assert.equal(tokenizer.isSpecial(260), special);
  });
}

Deno.test("loadModel() makes a token special that a configuration names so", async () => {
  const { tokenizer } = await load({ files: tokenizerConfig({ pad_token: "the" }) });
  const [the] = tokenizer.encode("the", { addSpecialTokens: false });
  assert.ok(tokenizer.isSpecial(the as number));
});

Deno.test("loadModel() leaves the text of a token as it is for which the model has no row", async () => {
  const { tokenizer } = await load({ files: tokenizerConfig({ pad_token: "[PAD]" }) });
  assert.equal(tokenizer.vocabSize, 260);
  assert.equal(tokenizer.encode("[PAD]", { addSpecialTokens: false }).length, 5);
});

for (const key of ["rope_scaling", "rope_parameters"]) {
  Deno.test(`loadModel() reads rope_theta inside ${key}`, async () => {
    const plain = await load({ config: { rope_theta: 5000 } });
    const config = { rope_theta: 1e6, [key]: { rope_type: "default", rope_theta: 5000 } };
    assert.deepEqual((await load({ config })).spec.ropeInvFreq, plain.spec.ropeInvFreq);
  });
}

const window = { sliding_window: 8 };
const qwen = { model_type: "qwen2", use_sliding_window: true, ...window };
const biases = Object.fromEntries([0, 1].flatMap((layer) =>
  [["q", 12], ["k", 4], ["v", 4]].map((
    [name, size],
  ) => [`model.layers.${layer}.self_attn.${name}_proj.bias`, { shape: [size as number] }])
));
const windows: Record<string, [changes: TinyFolderChanges, expected: readonly [number, number]]> = {
  "Llama, which has none": [{ config: window }, [0, 0]],
  "Mistral": [{ config: { model_type: "mistral", ...window } }, [8, 0]],
  "Mistral without a window": [
    { config: { model_type: "mistral", sliding_window: null } },
    [0, 0],
  ],
  "Mistral that does not say": [{ config: { model_type: "mistral" } }, [4096, 0]],
  "Qwen2 with the switch off": [
    { config: { ...qwen, use_sliding_window: false }, weights: biases },
    [0, 0],
  ],
  "Qwen2 from layer 1": [{ config: { ...qwen, max_window_layers: 1 }, weights: biases }, [8, 1]],
  "Qwen2 that does not reach it": [{ config: qwen, weights: biases }, [0, 0]],
  "Qwen2 by layer_types": [
    {
      config: { ...qwen, layer_types: ["full_attention", "sliding_attention"] },
      weights: biases,
    },
    [8, 1],
  ],
};

for (const [name, [changes, [size, first]]] of Object.entries(windows)) {
  Deno.test(`loadModel() reads the sliding window of ${name}`, async () => {
    const { spec } = await load(changes);
    assert.deepEqual([spec.slidingWindow, spec.slidingWindowFirstLayer], [size, first]);
  });
}

const config = (changes: Record<string, unknown>) => ({ config: changes });
const file = (name: string, content: string | undefined) => ({ files: { [name]: content } });
const tokenizer = (changes: Record<string, unknown>) =>
  file("tokenizer.json", JSON.stringify({ ...tinyTokenizer(), ...changes }));

const refused: Record<string, [changes: TinyFolderChanges, message: RegExp]> = {
  "no config.json": [file("config.json", undefined), /config.json is missing/],
  "a config.json that is no JSON": [file("config.json", "{"), /config.json: it is not JSON/],
  "a config.json that is a list": [
    file("config.json", "[]"),
    /config.json: it must hold an object/,
  ],
  "an unsupported architecture": [
    config({ model_type: "gpt_neox" }),
    /architecture gpt_neox is not supported; supported: llama, mistral, qwen2, qwen3, opt/,
  ],
  "no architecture": [config({ model_type: undefined }), /config.json: model_type is missing/],
  "a quantized checkpoint": [
    config({ quantization_config: { quant_method: "gptq" } }),
    /quantized Hugging Face checkpoints are not supported/,
  ],
  "a hidden size of zero": [
    config({ hidden_size: 0 }),
    /config.json: hidden_size must be a whole number from 1 to 1048576: current value is 0/,
  ],
  "a hidden size that is text": [config({ hidden_size: "12" }), /hidden_size must be/],
  "an absurd number of layers": [config({ num_hidden_layers: 1e6 }), /num_hidden_layers must be/],
  "heads that do not share evenly": [
    config({ num_key_value_heads: 2 }),
    /3 heads cannot share 2 key-value heads/,
  ],
  "an odd head dimension": [config({ head_dim: 5 }), /head_dim must be even: current value is 5/],
  "an unknown activation": [
    config({ hidden_act: "mish" }),
    /hidden_act mish is not supported; supported: silu/,
  ],
  "an activation out of Object.prototype": [
    config({ hidden_act: "toString" }),
    /hidden_act toString is not supported/,
  ],
  "an unknown RoPE scaling": [
    config({ rope_scaling: { rope_type: "longrope", factor: 2 } }),
    /RoPE scaling longrope is not supported/,
  ],
  "a RoPE scaling without its factor": [
    config({ rope_scaling: { type: "linear" } }),
    /config.json: rope_scaling.factor is missing/,
  ],
  "a partial RoPE": [
    config({ rope_parameters: { rope_theta: 1e4, partial_rotary_factor: 0.5 } }),
    /partial_rotary_factor/,
  ],
  "window layers in no order": [
    {
      config: { ...qwen, layer_types: ["sliding_attention", "full_attention"] },
      weights: biases,
    },
    /layer_types must be full_attention layers followed by/,
  ],
  "no weights": [file("model.safetensors", undefined), /model.safetensors is missing/],
  "a shard outside the folder": [
    file(
      "model.safetensors.index.json",
      JSON.stringify({ weight_map: { a: "../../etc/passwd.safetensors" } }),
    ),
    /names "..\/..\/etc\/passwd.safetensors", which is no safetensors file of this folder/,
  ],
  "shards in a folder of their own": [
    file("model.safetensors.index.json", '{"weight_map": {"a": "a/b.safetensors"}}'),
    /names "a\/b.safetensors", which is no safetensors file of this folder/,
  ],
  "a shard of another kind": [
    file("model.safetensors.index.json", '{"weight_map": {"a": "a.safetensors.bin"}}'),
    /names "a.safetensors.bin", which is no safetensors file of this folder/,
  ],
  "a shard that has no name": [
    file("model.safetensors.index.json", '{"weight_map": {"a": [1]}}'),
    /names \[1\], which is no safetensors file of this folder/,
  ],
  "a shard of a long name": [
    file("model.safetensors.index.json", `{"weight_map": {"a": "${"x".repeat(99)}"}}`),
    /index.json names "x{79}, which is no safetensors file of this folder/,
  ],
  "a map that is null": [
    file("model.safetensors.index.json", '{"weight_map": null}'),
    /index.json must hold a weight_map/,
  ],
  "an index without a map": [
    file("model.safetensors.index.json", "{}"),
    /index.json must hold a weight_map/,
  ],
  "a missing tensor": [
    { weights: { "model.layers.1.mlp.up_proj.weight": undefined } },
    /model.layers.1.mlp.up_proj.weight is missing/,
  ],
  "an unknown tensor": [
    { weights: { "model.layers.0.mlp.router.weight": { shape: [4] } } },
    /unknown tensor model.layers.0.mlp.router.weight/,
  ],
  "a bias that the config does not announce": [
    { weights: { "model.layers.0.self_attn.q_proj.bias": { shape: [12] } } },
    /unknown tensor model.layers.0.self_attn.q_proj.bias/,
  ],
  "a tensor of a wrong shape": [
    { weights: { "model.norm.weight": { shape: [13] } } },
    /model.norm.weight must have the shape \[12\]: it has \[13\]/,
  ],
  "a tensor of float64": [
    { weights: { "model.norm.weight": { shape: [12], dtype: "F64" } } },
    /model.norm.weight has type F64, which is not supported; supported: F32, F16, BF16/,
  ],
  "no tokenizer": [file("tokenizer.json", undefined), /tokenizer.json is missing/],
  "a tokenizer without merges": [
    tokenizer({ model: { type: "BPE", vocab: {} } }),
    /model.merges must be a list/,
  ],
  "a Unigram tokenizer": [
    tokenizer({ model: { type: "Unigram", vocab: [] } }),
    /model type Unigram is not supported; supported: BPE/,
  ],
  "an unknown decoder": [
    tokenizer({ decoder: { type: "WordPiece" } }),
    /decoder WordPiece is unknown/,
  ],
  "an unknown pre-tokenizer": [
    tokenizer({ pre_tokenizer: { type: "Sorcery" } }),
    /tokenizer is not supported: pre-tokenizer Sorcery is not supported/,
  ],
  "a token id of a billion": [
    tokenizer({ model: { type: "BPE", vocab: { a: 1e9 }, merges: [] } }),
    /token "a" has the invalid id 1000000000/,
  ],
  "a token id nested 100,000 deep": [
    file(
      "tokenizer.json",
      JSON.stringify(tinyTokenizer()).replace(
        '"merges":[',
        `"merges":[${"[".repeat(100_000)}${"]".repeat(100_000)},`,
      ),
    ),
    /Cannot open model .*stack/,
  ],
  "files that disagree about a token's id": [
    { ...wide, files: tokenizerConfig({ added_tokens_decoder: { 7: extra } }) },
    /added_tokens_decoder gives "<\|extra\|>" the id 7, which tokenizer.json gives/,
  ],
  "files that disagree about an id's token": [
    { ...wide, files: tokenizerConfig({ added_tokens_decoder: { 261: { content: "<eos>" } } }) },
    /added_tokens_decoder gives "<eos>" the id 261, tokenizer.json 1/,
  ],
  "an added token without text": [
    tokenizer({ added_tokens: [{ id: 0 }] }),
    /added_tokens must have a content/,
  ],
};

for (const [name, [changes, message]] of Object.entries(refused)) {
  Deno.test(`loadModel() refuses a folder with ${name}`, async () => {
    await assertRefused(() => load(changes), message);
  });
}

Deno.test("loadModel() of a config with a value of any type succeeds or throws a ModelError", async () => {
  using folder = new ScratchFolder();
  const path = writeTinyFolder(folder);
  const field = fc.constantFrom(
    ...Object.keys(tinyConfig),
    "rope_scaling",
    "head_dim",
    "layer_types",
  );
  await fc.assert(
    fc.asyncProperty(field, fc.jsonValue(), async (name, value) => {
      folder.write("tiny-llama/config.json", JSON.stringify({ ...tinyConfig, [name]: value }));
      await loadModel(path).catch((error) => assert.ok(error instanceof ModelError, error?.stack));
    }),
    { numRuns: 200 },
  );
});

Deno.test("loadModel() of a tokenizer with a value of any type succeeds or throws a ModelError", async () => {
  using folder = new ScratchFolder();
  const path = writeTinyFolder(folder);
  const whole = tinyTokenizer();
  const field = fc.constantFrom(...Object.keys(whole));
  const modelField = fc.constantFrom("vocab", "merges", "unk_token", "type", "ignore_merges");
  await fc.assert(
    fc.asyncProperty(field, modelField, fc.jsonValue(), fc.boolean(), async (a, b, value, deep) => {
      const changed = deep
        ? { ...whole, model: { ...(whole["model"] as object), [b]: value } }
        : { ...whole, [a]: value };
      folder.write("tiny-llama/tokenizer.json", JSON.stringify(changed));
      await loadModel(path).catch((error) => assert.ok(error instanceof ModelError, error?.stack));
    }),
    { numRuns: 300 },
  );
});

Deno.test("loadModel() of a tokenizer tells of values that have no text", async () => {
  using folder = new ScratchFolder();
  const path = writeTinyFolder(folder);
  const whole = tinyTokenizer();
  const model = { ...(whole["model"] as object), type: { toString: [] } };
  folder.write("tiny-llama/tokenizer.json", JSON.stringify({ ...whole, model }));
  await assertRefused(() => loadModel(path), /model type a list or an object is not supported/);
});

Deno.test("loadModel() names what it cannot find", async () => {
  using folder = new ScratchFolder();
  await assertRefused(() => loadModel(`${folder.path}/none.gguf`), /no such file or folder/);
  await assertRefused(() => loadModel(folder.path), /config.json is missing/);
  const weights = folder.write("model.safetensors", "x");
  await assertRefused(() => loadModel(weights), /name its folder/);
  await assertRefused(() => loadModel("/dev/null"), /it is no file and no folder/);
  folder.write("a.gguf", "x");
  folder.write("b.gguf", "y");
  await assertRefused(() => loadModel(folder.path), /holds 2 GGUF files; name one.*a.gguf, b.gguf/);
  folder.write("config.json", "{}");
  await assertRefused(() => loadModel(folder.path), /model_type is missing/);
  for (const name of ["~/none", "a\\b", "/none/here", "a b/c"]) {
    await assertRefused(() => loadModel(name), /there is no such file or folder, and it is no Hub/);
  }
});

Deno.test("loadModel() opens the one GGUF file of a folder, and knows where a tokenizer is from", async () => {
  using folder = new ScratchFolder();
  const path = folder.write("only.GGUF", tinyGguf());
  const model = await loadModel(folder.path);
  assert.equal(model.name, "only");
  assert.equal(tokenizerSource(model.tokenizer), folder.path);
  assert.equal(tokenizerSource((await loadModel(path)).tokenizer), path);
  assert.equal(tokenizerSource({ ...model.tokenizer }), undefined);
});

Deno.test("loadModel() passes on what a folder does not let it read", async () => {
  using folder = new ScratchFolder();
  const path = writeTinyFolder(folder);
  Deno.removeSync(`${path}/config.json`);
  Deno.mkdirSync(`${path}/config.json`);
  await assertRefused(() => loadModel(path), /^Cannot read .*config.json: \S/);
});
