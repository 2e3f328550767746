/**
 * A model as `hearth_engine_open` takes it: spec, tensor table, file table.
 *
 * @module
 */
import { FileDType } from "../ffi/dtypes.ts";
import { FlatBuffer } from "../ffi/flat_buffer.ts";
import type { ModelTables } from "../ffi/native_engine.ts";
import * as c from "../ffi/structs.ts";
import type { Model } from "./spec.ts";

/** The model's tables, encoded anew: an engine's call appends to their flat buffer. */
export function encodeModel(model: Model): ModelTables {
  const flat = new FlatBuffer();
  const { spec } = model;
  return {
    flat,
    numTensors: model.tensors.length,
    numFiles: model.files.length,
    spec: c.ModelSpec.encode({
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
      norm_after: Number(spec.normAfter),
      activation: c.Activation[spec.activation],
      gated: Number(spec.gated),
      position_kind: c.Position[spec.position],
      position_offset: spec.positionOffset,
      rope_style: c.RopeStyle[spec.ropeStyle],
      rope_dim: spec.ropeDim,
      sliding_window: spec.slidingWindow,
      sliding_window_first_layer: spec.slidingWindowFirstLayer,
      norm_eps: spec.normEps,
      attention_scale: spec.attentionScale,
      rope_scale: spec.ropeScale,
      tied_embeddings: Number(spec.tiedEmbeddings),
      rope_inv_freq_offset: flat.append(spec.ropeInvFreq),
      rope_inv_freq_count: spec.ropeInvFreq.length,
      fingerprint: spec.fingerprint,
    }),
    tensors: c.Tensor.encodeAll(model.tensors.map((tensor) => {
      const name = flat.appendText(tensor.name);
      return {
        role: c.TensorRole[tensor.role],
        layer: tensor.layer,
        dtype: FileDType[tensor.dtype],
        num_dims: tensor.shape.length,
        file: tensor.file,
        shape: [BigInt(tensor.shape[0] ?? 1), BigInt(tensor.shape[1] ?? 1)],
        file_offset: BigInt(tensor.offset),
        num_bytes: BigInt(tensor.bytes),
        name_offset: name.offset,
        name_bytes: name.bytes,
      };
    })),
    files: c.File.encodeAll(model.files.map((file) => {
      const path = flat.appendText(file);
      return { path_offset: path.offset, path_bytes: path.bytes, reserved: 0 };
    })),
  };
}
