import assert from "node:assert/strict";
import * as c from "../../ffi/structs.ts";
import { loadModel } from "../../model/load.ts";
import { encodeModel } from "../../model/native_tables.ts";
import type { ModelSpec, TensorRole } from "../../model/spec.ts";
import {
  type NamedTensor,
  roleShape,
  type TensorNames,
  tensorPlaces,
  tensorTable,
} from "../../model/tensor_table.ts";
import { checkpointNames, checkpointPath } from "../golden/checkpoints.ts";

/** Sizes that no two of are equal. */
const spec = {
  vocabSize: 11,
  hiddenSize: 5,
  embeddingSize: 7,
  intermediateSize: 13,
  numLayers: 2,
  numHeads: 3,
  numKvHeads: 1,
  headDim: 2,
  maxPosition: 17,
  positionOffset: 2,
} as ModelSpec;

const shapes: Readonly<Record<TensorRole, readonly number[]>> = {
  token_embedding: [11, 7],
  position_embedding: [19, 5],
  project_in: [5, 7],
  project_out: [7, 5],
  final_norm_weight: [5],
  final_norm_bias: [5],
  lm_head: [11, 7],
  attention_norm_weight: [5],
  attention_norm_bias: [5],
  q_weight: [6, 5],
  q_bias: [6],
  k_weight: [2, 5],
  k_bias: [2],
  v_weight: [2, 5],
  v_bias: [2],
  o_weight: [5, 6],
  o_bias: [5],
  q_norm_weight: [2],
  k_norm_weight: [2],
  mlp_norm_weight: [5],
  mlp_norm_bias: [5],
  gate_weight: [13, 5],
  gate_bias: [13],
  up_weight: [13, 5],
  up_bias: [13],
  down_weight: [5, 13],
  down_bias: [5],
};
const roles = Object.keys(shapes) as TensorRole[];

Deno.test("roleShape() knows the shape of every role, and tensorPlaces() which no layer owns", () => {
  const global = ["token_embedding", "position_embedding", "project_in", "project_out"]
    .concat("final_norm_weight", "final_norm_bias", "lm_head");
  for (const role of roles) {
    assert.deepEqual(roleShape(role, spec), shapes[role], role);
    const places = tensorPlaces({ [role]: "a.{}.b" }, 2);
    const expected = [["a.0.b", { role, layer: 0 }], ["a.1.b", { role, layer: 1 }]];
    assert.deepEqual([...places], global.includes(role) ? expected.slice(0, 1) : expected, role);
  }
});

const names: TensorNames = {
  required: { token_embedding: "embedding", q_weight: "{}.q" },
  optional: { q_bias: "{}.bias" },
  ignored: [/^buffer/],
};
const tensor = (name: string, shape: readonly number[], type = "F32"): NamedTensor => ({
  name,
  type,
  shape,
  file: 3,
  offset: 64,
  bytes: 99,
});
const whole = [
  tensor("embedding", [11, 7]),
  tensor("0.q", [6, 5], "F16"),
  tensor("1.q", [6, 5], "BF16"),
];
const biases = [tensor("0.bias", [6]), tensor("1.bias", [6])];
const tableOf = (tensors: readonly NamedTensor[]) => tensorTable("m", spec, names, tensors);

Deno.test("tensorTable() gives tensors their roles and layers", () => {
  const rest = { file: 3, offset: 64, bytes: 99 };
  assert.deepEqual(tableOf([...whole, tensor("buffer", [1])]), [
    { name: "embedding", role: "token_embedding", layer: 0, dtype: "F32", shape: [11, 7], ...rest },
    { name: "0.q", role: "q_weight", layer: 0, dtype: "F16", shape: [6, 5], ...rest },
    { name: "1.q", role: "q_weight", layer: 1, dtype: "BF16", shape: [6, 5], ...rest },
  ]);
  assert.deepEqual(tableOf([...whole, ...biases]).map(({ role }) => role), [
    "token_embedding",
    "q_weight",
    "q_weight",
    "q_bias",
    "q_bias",
  ]);
  for (const type of ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1"]) {
    const [embedding] = tableOf([tensor("embedding", [11, 7], type), ...whole.slice(1)]);
    assert.equal(embedding?.dtype, type);
  }
});

const refused: readonly (readonly [tensors: readonly NamedTensor[], problem: string])[] = [
  [whole.slice(1), "tensor embedding is missing"],
  [whole.slice(0, 2), "tensor 1.q is missing"],
  [[...whole, biases[0]!], "tensor 1.bias is missing"],
  [[...whole, tensor("2.q", [6, 5])], "unknown tensor 2.q"],
  [[...whole, tensor("a buffer", [1])], "unknown tensor a buffer"],
  [[...whole, whole[1]!], "tensor 0.q comes twice (also as 0.q)"],
  [
    [tensor("embedding", [11, 7], "Q5_K")],
    "tensor embedding has type Q5_K, which is not supported; supported: F32, F16, BF16, Q8_0, " +
    "Q4_0, Q4_1, Q6_K",
  ],
  [[tensor("embedding", [7, 11])], "tensor embedding must have the shape [11,7]: it has [7,11]"],
  [[tensor("embedding", [11, 8])], "tensor embedding must have the shape [11,7]: it has [11,8]"],
  [[tensor("embedding", [11])], "tensor embedding must have the shape [11,7]: it has [11]"],
  [
    [tensor("embedding", [11, 7, 1])],
    "tensor embedding must have the shape [11,7]: it has [11,7,1]",
  ],
];

Deno.test("tensorTable() says which tensor is missing, doubled, unknown or of a wrong kind", () => {
  for (const [tensors, problem] of refused) {
    assert.throws(() => tableOf(tensors), {
      name: "ModelError",
      message: `Cannot open model m: ${problem}`,
    });
  }
});

Deno.test("encodeModel() hands every field of a model to the library", async () => {
  for (const name of checkpointNames) {
    const model = await loadModel(checkpointPath(name));
    const { spec } = model;
    const tables = encodeModel(model);
    assert.deepEqual([tables.numTensors, tables.numFiles], [
      model.tensors.length,
      model.files.length,
    ]);
    const flat = tables.flat.toBytes();
    const view = ({ buffer }: Uint8Array) => new DataView(buffer);
    const { rope_inv_freq_offset: at, ...rest } = c.ModelSpec.decode(view(tables.spec));
    assert.deepEqual(new Float32Array(flat.buffer, at, spec.ropeInvFreq.length), spec.ropeInvFreq);
    const textAt = (offset: number, bytes: number) =>
      new TextDecoder().decode(flat.subarray(offset, offset + bytes));
    for (const [i, path] of model.files.entries()) {
      const file = c.File.decode(view(tables.files), i * c.File.byteLength);
      assert.equal(textAt(Number(file.path_offset), file.path_bytes), path);
    }
    for (const [i, tensor] of model.tensors.entries()) {
      const native = c.Tensor.decode(view(tables.tensors), i * c.Tensor.byteLength);
      const { name_offset, name_bytes, ...rest } = native;
      assert.equal(textAt(Number(name_offset), name_bytes), tensor.name);
      assert.deepEqual(rest, {
        role: c.TensorRole[tensor.role],
        layer: tensor.layer,
        dtype: c.DType[tensor.dtype.toLowerCase() as keyof typeof c.DType],
        num_dims: tensor.shape.length,
        file: tensor.file,
        shape: [BigInt(tensor.shape[0]!), BigInt(tensor.shape[1] ?? 1)],
        file_offset: BigInt(tensor.offset),
        num_bytes: BigInt(tensor.bytes),
      });
    }
    assert.deepEqual(rest, {
      vocab_size: spec.vocabSize,
      hidden_size: spec.hiddenSize,
      embedding_size: spec.embeddingSize,
      intermediate_size: spec.intermediateSize,
      num_layers: spec.numLayers,
      num_heads: spec.numHeads,
      num_kv_heads: spec.numKvHeads,
      head_dim: spec.headDim,
      max_position: spec.maxPosition,
      norm_kind: c.Norm[spec.norm],
      norm_after: spec.normAfter ? 1 : 0,
      activation: c.Activation[spec.activation],
      gated: spec.gated ? 1 : 0,
      position_kind: c.Position[spec.position],
      position_offset: spec.positionOffset,
      rope_style: c.RopeStyle[spec.ropeStyle],
      rope_dim: spec.ropeDim,
      sliding_window: spec.slidingWindow,
      sliding_window_first_layer: spec.slidingWindowFirstLayer,
      norm_eps: Math.fround(spec.normEps),
      attention_scale: Math.fround(spec.attentionScale),
      rope_scale: Math.fround(spec.ropeScale),
      tied_embeddings: spec.tiedEmbeddings ? 1 : 0,
      rope_inv_freq_count: spec.ropeInvFreq.length,
      fingerprint: spec.fingerprint,
    });
  }
});
