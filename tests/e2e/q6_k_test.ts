/**
 * An output matrix of Q6_K, as llama.cpp puts it into nearly every file of Q4_0 and Q4_1, beside a file that
 * holds the same values as F16.
 */
import assert from "node:assert/strict";
import { Engine } from "../../mod.ts";
import { loadModel } from "../../model/load.ts";
import type { TensorEntry } from "../../model/spec.ts";
import { freshSeed, Random } from "../kernels/random.ts";
import { ScratchFolder } from "../model/files.ts";
import { gguf, writeGguf } from "../model/gguf_writer.ts";
import { tinyTensors, withKeys } from "../model/tiny_gguf.ts";
import { onTestDevice } from "../test_device.ts";

const HIDDEN = 256, VOCAB = 288, KEYS = 128, MLP = 96;
const F32 = 0, F16 = 1, Q6_K = 14;
/** In a group: low bits, high bits, scales of 16 values, scale of all. */
const HIGH = 128, SCALES = 192, SCALE = 208, GROUP_BYTES = 210;
/** So few bits a scale that each product is an F16. */
const GROUP_SCALE = 2 ** -10, MAX_SCALE = 31;

const metadata = withKeys({
  "llama.embedding_length": [gguf.u32, HIDDEN],
  "llama.attention.head_count": [gguf.u32, 8],
  "llama.attention.head_count_kv": [gguf.u32, 4],
});
const dims: Readonly<Record<string, readonly number[]>> = {
  "token_embd.weight": [HIDDEN, VOCAB],
  "blk.0.attn_q.weight": [HIDDEN, HIDDEN],
  "blk.0.attn_k.weight": [HIDDEN, KEYS],
  "blk.0.attn_v.weight": [HIDDEN, KEYS],
  "blk.0.attn_output.weight": [HIDDEN, HIDDEN],
  "blk.0.ffn_gate.weight": [HIDDEN, MLP],
  "blk.0.ffn_up.weight": [HIDDEN, MLP],
  "blk.0.ffn_down.weight": [MLP, HIDDEN],
};

const seed = freshSeed();

Deno.test(`weights of Q6_K are the values that they mean: seed ${seed}`, async () => {
  using folder = new ScratchFolder();
  const random = new Random(seed);
  const groups = Array.from({ length: VOCAB }, () => groupOf(random));
  const quants = await write(folder, "quants", Q6_K, (bytes) => {
    groups.forEach((group, row) => bytes.set(group.bytes, row * GROUP_BYTES));
  });
  const halves = await write(folder, "halves", F16, ({ buffer, byteOffset }) => {
    const values = new Float16Array(buffer, byteOffset, VOCAB * HIDDEN);
    groups.forEach((group, row) => values.set(group.values, row * HIDDEN));
  });
  const [actual, expected] = [await outputOf(quants), await outputOf(halves)];
  assert.ok(new Set(expected.map(({ logprob }) => logprob)).size > 4, "no two are alike");
  assert.deepEqual(actual, expected);
});

/** Of one row: as in a file, and what it means, by ggml's own loop. */
function groupOf(random: Random): { readonly bytes: Uint8Array; readonly values: Float32Array } {
  const bytes = Uint8Array.from({ length: GROUP_BYTES }, () => random.below(256));
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < 16; i++) view.setInt8(SCALES + i, random.between(-MAX_SCALE, MAX_SCALE));
  view.setFloat16(SCALE, GROUP_SCALE, true);
  const values = new Float32Array(HIDDEN);
  for (let part = 0; part < 2; part++) {
    const low = (i: number) => bytes[part * 64 + i]!,
      high = (i: number) => bytes[HIGH + part * 32 + i]!;
    const scale = (i: number) => GROUP_SCALE * view.getInt8(SCALES + part * 8 + i);
    for (let i = 0; i < 32; i++) {
      const at = part * 128 + i, sixteen = i >> 4;
      values[at] = scale(sixteen) * (((low(i) & 15) | ((high(i) & 3) << 4)) - 32);
      values[at + 32] = scale(sixteen + 2) *
        (((low(i + 32) & 15) | (((high(i) >> 2) & 3) << 4)) - 32);
      values[at + 64] = scale(sixteen + 4) * (((low(i) >> 4) | (((high(i) >> 4) & 3) << 4)) - 32);
      values[at + 96] = scale(sixteen + 6) * (((low(i + 32) >> 4) | ((high(i) >> 6) << 4)) - 32);
    }
  }
  return { bytes, values };
}

/** A model whose other weights are the same in all files. */
async function write(
  folder: ScratchFolder,
  name: string,
  outputType: number,
  fillOutput: (bytes: Uint8Array<ArrayBuffer>) => void,
): Promise<string> {
  const tensors = [
    ...tinyTensors.map((tensor) => ({
      name: tensor.name,
      dims: dims[tensor.name] ?? [HIDDEN],
      type: F32,
    })),
    { name: "output.weight", dims: [HIDDEN, VOCAB], type: outputType },
  ];
  const bytes = writeGguf({ metadata, tensors });
  const path = folder.write(`${name}.gguf`, bytes);
  const random = new Random(1);
  const inFile = ({ offset, bytes: length }: TensorEntry) =>
    bytes.subarray(offset, offset + length);
  for (const tensor of (await loadModel(path)).tensors) {
    if (tensor.role === "lm_head") {
      fillOutput(inFile(tensor));
      continue;
    }
    const { buffer, byteOffset, length } = inFile(tensor);
    const isVector = tensor.shape.length === 1;
    new Float32Array(buffer, byteOffset, length / 4)
      .forEach((_, i, all) => all[i] = isVector ? 1 : random.normal() / 16);
  }
  return folder.write(`${name}.gguf`, bytes);
}

async function outputOf(path: string) {
  await using engine = await Engine.open(path, onTestDevice);
  const request = {
    tokens: [20, 30, 40],
    maxTokens: 6,
    temperature: 0,
    logprobs: 20,
    ignoreEos: true,
  };
  const { sequences } = await engine.generate(request).result();
  return [...sequences[0]!.logprobs!];
}
