/**
 * The structs and functions of `csrc/hearth_ops.h`, as structs.ts and symbols.ts have those of
 * `csrc/hearth.h`.
 *
 * @module
 */
import { Struct } from "./struct.ts";

export const OpContextStruct = new Struct("hearth_op_context", {
  device_kind: "u32",
  device_index: "u32",
  isa: "u32",
  num_threads: "u32",
  activation_dtype: "u32",
  kv_cache_dtype: "u32",
  block_size: "u32",
  repeats: "u32",
  operand_outputs: "u32",
  best_ns: "u64",
  median_ns: "u64",
});

export const OpLinearShape = new Struct("hearth_op_linear_shape", {
  weight_dtype: "u32",
  rows: "u32",
  cols: "u32",
  num_tokens: "u32",
  norm_kind: "u32",
  norm_eps: "f32",
  activation: "u32",
  gated: "u32",
  reserved: "u32",
});

export const OpAttentionShape = new Struct("hearth_op_attention_shape", {
  num_tokens: "u32",
  num_sequences: "u32",
  num_blocks: "u32",
  max_blocks: "u32",
  num_heads: "u32",
  num_kv_heads: "u32",
  head_dim: "u32",
  window: "u32",
  scale: "f32",
  hidden_size: "u32",
  weight_dtype: "u32",
  norm_kind: "u32",
  norm_eps: "f32",
  head_norm_kind: "u32",
  head_norm_eps: "f32",
  rope_dim: "u32",
  rope_style: "u32",
  rope_scale: "f32",
  reserved: "u32",
});

export const OpSampler = new Struct("hearth_op_sampler", {
  temperature: "f32",
  top_p: "f32",
  min_p: "f32",
  top_k: "u32",
  repetition_penalty: "f32",
  presence_penalty: "f32",
  frequency_penalty: "f32",
  min_tokens: "u32",
  sequence: "u32",
  seed: "u64",
  stop_ids_offset: "u32",
  stop_ids_count: "u32",
  logit_bias_offset: "u32",
  logit_bias_count: "u32",
  bad_words_offset: "u32",
  bad_words_count: "u32",
  prompt_offset: "u32",
  prompt_count: "u32",
  output_offset: "u32",
  output_count: "u32",
});

export const OpSampleRow = new Struct("hearth_op_sample_row", {
  logits_row: "u32",
  sampler: "u32",
  target: "i32",
  output_index: "u32",
  num_logprobs: "i32",
});

/** HEARTH_OP_MAX_LOGPROBS: entries of `top` for each sample row. */
export const maxLogprobs = 20;

/** What `Deno.dlopen` binds. */
export const opSymbols = {
  hearth_op_embed: {
    parameters: [
      "buffer", // hearth_op_context *context
      "buffer", // const hearth_op_linear_shape *shape
      "buffer", // const uint8_t *weight
      "buffer", // const uint8_t *position_weight
      "u32", // uint32_t position_rows
      "u32", // uint32_t position_offset
      "buffer", // const int32_t *ids
      "buffer", // const int32_t *positions
      "buffer", // float *out
      "buffer", // char *error
      "u32", // uint32_t error_capacity
    ],
    result: "i32", // hearth_status
  },
  hearth_op_gather: {
    parameters: [
      "buffer", // hearth_op_context *context
      "buffer", // const hearth_op_linear_shape *shape
      "buffer", // const int32_t *indices
      "buffer", // const float *x
      "buffer", // float *out
      "buffer", // char *error
      "u32", // uint32_t error_capacity
    ],
    result: "i32", // hearth_status
  },
  hearth_op_norm: {
    parameters: [
      "buffer", // hearth_op_context *context
      "buffer", // const hearth_op_linear_shape *shape
      "buffer", // const float *weight
      "buffer", // const float *bias
      "buffer", // const float *x
      "buffer", // float *out
      "buffer", // char *error
      "u32", // uint32_t error_capacity
    ],
    result: "i32", // hearth_status
  },
  hearth_op_linear: {
    parameters: [
      "buffer", // hearth_op_context *context
      "buffer", // const hearth_op_linear_shape *shape
      "buffer", // const uint8_t *weight
      "buffer", // const float *bias
      "buffer", // const float *norm_weight
      "buffer", // const float *norm_bias
      "buffer", // const float *x
      "buffer", // const float *residual
      "buffer", // float *out
      "buffer", // char *error
      "u32", // uint32_t error_capacity
    ],
    result: "i32", // hearth_status
  },
  hearth_op_gate_up: {
    parameters: [
      "buffer", // hearth_op_context *context
      "buffer", // const hearth_op_linear_shape *shape
      "buffer", // const uint8_t *gate
      "buffer", // const float *gate_bias
      "buffer", // const uint8_t *up
      "buffer", // const float *up_bias
      "buffer", // const float *norm_weight
      "buffer", // const float *norm_bias
      "buffer", // const float *x
      "buffer", // float *out
      "buffer", // char *error
      "u32", // uint32_t error_capacity
    ],
    result: "i32", // hearth_status
  },
  hearth_op_qkv: {
    parameters: [
      "buffer", // hearth_op_context *context
      "buffer", // const hearth_op_attention_shape *shape
      "buffer", // const uint8_t *wq
      "buffer", // const uint8_t *wk
      "buffer", // const uint8_t *wv
      "buffer", // const float *biases
      "buffer", // const float *norm_weight
      "buffer", // const float *norm_bias
      "buffer", // const float *head_norms
      "buffer", // const float *inv_freq
      "buffer", // const int32_t *positions
      "buffer", // const int32_t *slots
      "buffer", // const float *x
      "buffer", // float *q
      "buffer", // float *k
      "buffer", // float *v
      "buffer", // char *error
      "u32", // uint32_t error_capacity
    ],
    result: "i32", // hearth_status
  },
  hearth_op_attention: {
    parameters: [
      "buffer", // hearth_op_context *context
      "buffer", // const hearth_op_attention_shape *shape
      "buffer", // const int32_t *query_start
      "buffer", // const int32_t *context_len
      "buffer", // const int32_t *block_table
      "buffer", // const int32_t *copies
      "u32", // uint32_t num_copies
      "buffer", // const float *q
      "buffer", // const float *k
      "buffer", // const float *v
      "buffer", // float *out
      "buffer", // char *error
      "u32", // uint32_t error_capacity
    ],
    result: "i32", // hearth_status
  },
  hearth_op_sample: {
    parameters: [
      "buffer", // hearth_op_context *context
      "buffer", // const float *logits
      "u32", // uint32_t num_logits_rows
      "u32", // uint32_t vocab_size
      "buffer", // const hearth_op_sampler *samplers
      "u32", // uint32_t num_samplers
      "buffer", // const hearth_op_sample_row *rows
      "u32", // uint32_t num_rows
      "buffer", // const uint8_t *flat
      "u32", // uint32_t flat_bytes
      "buffer", // hearth_token_logprob *results
      "buffer", // hearth_token_logprob *top
      "buffer", // char *error
      "u32", // uint32_t error_capacity
    ],
    result: "i32", // hearth_status
  },
  hearth_op_read_bandwidth: {
    parameters: [
      "buffer", // hearth_op_context *context
      "u64", // uint64_t num_bytes
      "buffer", // double *bytes_per_second
      "buffer", // char *error
      "u32", // uint32_t error_capacity
    ],
    result: "i32", // hearth_status
  },
  hearth_op_int8_peak: {
    parameters: [
      "buffer", // hearth_op_context *context
      "buffer", // double *operations_per_second
      "buffer", // char *error
      "u32", // uint32_t error_capacity
    ],
    result: "i32", // hearth_status
  },
  hearth_op_trap: {
    parameters: [
      "buffer", // hearth_op_context *context
      "buffer", // char *error
      "u32", // uint32_t error_capacity
    ],
    result: "i32", // hearth_status
  },
} as const satisfies Deno.ForeignLibraryInterface;
