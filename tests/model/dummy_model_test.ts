import assert from "node:assert/strict";
import { Engine } from "../../engine/engine.ts";
import { loadModel } from "../../model/load.ts";
import { checkpointNames, checkpointPath } from "../golden/checkpoints.ts";
import { onTestDevice } from "../test_device.ts";

const dummy = { loadFormat: "dummy" } as const;

/** Llama 3 8B, as far as its config.json matters. */
const LLAMA3_8B = {
  model_type: "llama",
  hidden_size: 4096,
  intermediate_size: 14336,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  vocab_size: 128256,
  max_position_embeddings: 8192,
  torch_dtype: "bfloat16",
  eos_token_id: 128001,
};

/** A folder with a config.json alone. */
async function withConfig(
  config: object,
  test: (folder: string) => Promise<void>,
  name = "config.json",
) {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/${name}`, JSON.stringify(config));
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

for (const name of checkpointNames.filter((it) => !it.includes("gguf"))) {
  Deno.test(`A dummy of ${name} has the tensors of the checkpoint`, async () => {
    const path = checkpointPath(name);
    const [real, made] = [await loadModel(path), await loadModel(path, dummy)];
    const tableOf = ({ tensors }: typeof real) =>
      new Map(tensors.map(({ role, layer, dtype, shape, bytes }) => [
        `${role} ${layer}`,
        { dtype, shape, bytes },
      ]));
    assert.deepEqual(tableOf(made), tableOf(real));
    assert.deepEqual({ ...made.spec, fingerprint: 0n }, { ...real.spec, fingerprint: 0n });
    assert.notEqual(made.spec.fingerprint, real.spec.fingerprint);
    assert.deepEqual(made.eosTokenIds, real.eosTokenIds);
    assert.deepEqual(made.files, [`${path}/config.json`]);
    const text = "the quick brown fox";
    assert.deepEqual(made.tokenizer.encode(text), real.tokenizer.encode(text));
  });
}

Deno.test("A dummy of Llama 3 8B needs its config.json alone", () =>
  withConfig(LLAMA3_8B, async (folder) => {
    const model = await loadModel(folder, dummy);
    const bytes = model.tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
    assert.equal(bytes, 2 * 8_030_261_248);
    assert.equal(model.tensors.length, 3 + 32 * 9);
    assert.ok(model.tensors.every(({ dtype }) => dtype === "BF16"));
    assert.deepEqual(model.eosTokenIds, [128001]);
    const tokens = model.tokenizer.encode("Grüße");
    assert.equal(model.tokenizer.decode(tokens), "Grüße");
    assert.equal(model.tokenizer.decode([128000]).length, 1);
  }));

Deno.test("A dummy takes a config's path, and fp16 where it names no type", () =>
  withConfig({ ...LLAMA3_8B, torch_dtype: undefined }, async (folder) => {
    const model = await loadModel(`${folder}/llama3-8b.json`, dummy);
    assert.equal(model.name, "llama3-8b");
    assert.ok(model.tensors.every(({ dtype }) => dtype === "F16"));
  }, "llama3-8b.json"));

Deno.test("A dummy takes the type that its config names, the newer name first", async () => {
  const types = { float32: ["F32", 4], float16: ["F16", 2], bfloat16: ["BF16", 2] } as const;
  for (const [name, [dtype, bytes]] of Object.entries(types)) {
    for (const named of [{ dtype: name, torch_dtype: "float8" }, { torch_dtype: name }]) {
      await withConfig({ ...LLAMA3_8B, ...named }, async (folder) => {
        const { tensors } = await loadModel(folder, dummy);
        const norm = tensors.find(({ role }) => role === "final_norm_weight");
        assert.deepEqual([norm?.dtype, norm?.shape, norm?.bytes], [dtype, [4096], 4096 * bytes]);
      });
    }
  }
});

Deno.test("A dummy without a tokenizer has a token a byte, and printable ones beyond", () =>
  withConfig({ ...LLAMA3_8B, vocab_size: 300, eos_token_id: [7, 8] }, async (folder) => {
    const { tokenizer, chatTemplate, eosTokenIds, name } = await loadModel(folder, dummy);
    assert.equal(name, folder.split("/").at(-1));
    assert.deepEqual([chatTemplate, eosTokenIds], [undefined, [7, 8]]);
    assert.deepEqual([tokenizer.bosToken, tokenizer.eosToken], [undefined, undefined]);
    assert.equal(tokenizer.vocabSize, 300);
    assert.deepEqual(tokenizer.encode("aé"), [97, 0xc3, 0xa9]);
    assert.equal(tokenizer.decode([97, 0xc3, 0xa9]), "aé");
    assert.equal(tokenizer.decode([0xef, 0xbb, 0xbf, 97]), "\ufeffa");
    const printable = [256, 284, 285, 299];
    assert.equal(tokenizer.decode(printable), "\x62~ .");
    assert.deepEqual(printable.map((id) => tokenizer.tokenText(id)), ["b", "~", " ", "."]);
    assert.deepEqual(printable.map((id) => [...tokenizer.tokenBytes(id)]), [[98], [126], [32], [
      46,
    ]]);
    assert.deepEqual([tokenizer.tokenText(65), tokenizer.tokenText(300)], ["A", undefined]);
    assert.equal(tokenizer.tokenBytes(255)[0], 255);
    assert.equal(tokenizer.isSpecial(7), false);
    const small = await withSmall();
    assert.deepEqual(small, [97 % 90, 48]);
  }));

/** Tokens of "a0" where the vocabulary has fewer than the bytes. */
async function withSmall(): Promise<number[]> {
  let tokens: number[] = [];
  await withConfig({ ...LLAMA3_8B, vocab_size: 90 }, async (folder) => {
    tokens = (await loadModel(folder, dummy)).tokenizer.encode("a0");
  });
  return tokens;
}

Deno.test("A dummy says what it needs", async () => {
  await assert.rejects(loadModel("/nowhere", dummy), { name: "ModelError", message: /nowhere/ });
  await assert.rejects(loadModel(`${checkpointPath("llama-gguf-f16")}/model.gguf`, dummy), {
    name: "ModelError",
    message: /a dummy one needs a config.json/,
  });
  await withConfig(
    { ...LLAMA3_8B, torch_dtype: "float8" },
    (folder) =>
      assert.rejects(loadModel(folder, dummy), {
        name: "ModelError",
        message: /weights of float8 are not supported; supported: float32, float16, bfloat16/,
      }),
  );
});

Deno.test("An engine generates from dummy weights", async () => {
  const open = () =>
    Engine.open(checkpointPath("qwen3-tied-bf16"), { ...onTestDevice, ...dummy, maxModelLen: 128 });
  const texts: number[][] = [];
  for (let i = 0; i < 2; i++) {
    await using engine = await open();
    const generation = engine.generate({
      tokens: [20, 21, 22],
      maxTokens: 16,
      temperature: 0,
      ignoreEos: true,
      logprobs: 0,
    });
    const tokens: number[] = [];
    for await (const chunk of generation) {
      tokens.push(...chunk.tokens);
      assert.ok(
        chunk.logprobs && [...chunk.logprobs].every(({ logprob }) => logprob <= 0 && logprob > -20),
      );
    }
    assert.equal(tokens.length, 16);
    texts.push(tokens);
  }
  assert.deepEqual(texts[0], texts[1]);
});
