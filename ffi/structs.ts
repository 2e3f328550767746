/**
 * The structs and enumerators of `csrc/hearth.h`, under their names in C without the prefix.
 *
 * @module
 */
import { Struct } from "./struct.ts";

/** HEARTH_ABI_VERSION of the header that these files were written for. */
export const abiVersion = 2;

/** HEARTH_NUMERICS of that header: names what bits results have. */
export const numerics = 1;

/** `hearth_status`: 0 is HEARTH_OK, failures are negative. */
export const Status = {
  OK: 0,
  INVALID_ARGUMENT: -1,
  QUEUE_FULL: -2,
  CLOSING: -3,
  CLOSED: -4,
  OUT_OF_MEMORY: -5,
  IO_ERROR: -6,
  UNSUPPORTED: -7,
  NOT_FOUND: -8,
  NOT_READY: -9,
  DEADLINE: -10,
  INTERNAL: -11,
  DEVICE_LOST: -12,
} as const;

/** HEARTH_DEVICE_*. */
export const DeviceKind = { auto: 0, cpu: 1, cuda: 2 } as const;

/** HEARTH_ISA_*, worst to best. */
export const Isa = { auto: 0, generic: 1, avx2: 2, avx512: 3, amx: 4 } as const;

/** HEARTH_DTYPE_* of weights. */
export const WeightDType = { F32: 0, F16: 1, BF16: 2, Q8_0: 3, Q4_0: 4, Q4_1: 5 } as const;

/** HEARTH_DTYPE_* of activations and of the KV cache, under the names of their options. */
export const ComputeDType = { fp32: 0, fp16: 1, bf16: 2, int8: 6, auto: 255 } as const;

/** HEARTH_LOAD_*: how weights come into being. */
export const LoadFormat = { auto: 0, dummy: 1 } as const;

/** HEARTH_NORM_*. */
export const Norm = { rms: 1, layer: 2 } as const;

/** HEARTH_ACTIVATION_*. */
export const Activation = { silu: 1, gelu_tanh: 2, relu: 3, gelu: 4 } as const;

/** HEARTH_POSITION_*. */
export const Position = { rope: 1, learned: 2 } as const;

/** HEARTH_ROPE_*. */
export const RopeStyle = { half: 1, interleaved: 2 } as const;

/** HEARTH_TENSOR_*. */
export const TensorRole = {
  token_embedding: 1,
  position_embedding: 2,
  project_in: 3,
  project_out: 4,
  final_norm_weight: 5,
  final_norm_bias: 6,
  lm_head: 7,
  attention_norm_weight: 16,
  attention_norm_bias: 17,
  q_weight: 18,
  q_bias: 19,
  k_weight: 20,
  k_bias: 21,
  v_weight: 22,
  v_bias: 23,
  o_weight: 24,
  o_bias: 25,
  q_norm_weight: 26,
  k_norm_weight: 27,
  mlp_norm_weight: 28,
  mlp_norm_bias: 29,
  gate_weight: 30,
  gate_bias: 31,
  up_weight: 32,
  up_bias: 33,
  down_weight: 34,
  down_bias: 35,
} as const;

/** HEARTH_CANCEL_*: why, and which sequence. */
export const Cancel = { CLIENT: 0, STOP: 1, ALL_SEQUENCES: -1 } as const;

/** HEARTH_EVENT_*. */
export const EventKind = {
  TOKEN: 1,
  FINISH: 2,
  ERROR: 3,
  PROMPT_LOGPROB: 4,
  READY: 5,
  FAILED: 6,
  START: 7,
} as const;

/** HEARTH_FINISH_*. */
export const Finish = { stop: 1, length: 2, cancelled: 3, deadline: 4 } as const;

/** HEARTH_STATE_*. */
export const State = { loading: 1, ready: 2, failed: 3, closing: 4, closed: 5 } as const;

/** `hearth_device`: A device this process can run on. */
export const Device = new Struct("hearth_device", {
  kind: "u32",
  index: "u32",
  best_isa: "u32",
  num_cores: "u32",
  reserved: "u32",
  memory_bytes: "u64",
  free_bytes: "u64",
  name: "char[112]",
});

/** `hearth_model_spec`: One description for all families. */
export const ModelSpec = new Struct("hearth_model_spec", {
  vocab_size: "u32",
  hidden_size: "u32",
  embedding_size: "u32",
  intermediate_size: "u32",
  num_layers: "u32",
  num_heads: "u32",
  num_kv_heads: "u32",
  head_dim: "u32",
  max_position: "u32",
  norm_kind: "u32",
  norm_after: "u32",
  activation: "u32",
  gated: "u32",
  position_kind: "u32",
  position_offset: "u32",
  rope_style: "u32",
  rope_dim: "u32",
  sliding_window: "u32",
  sliding_window_first_layer: "u32",
  norm_eps: "f32",
  attention_scale: "f32",
  rope_scale: "f32",
  tied_embeddings: "u32",
  rope_inv_freq_offset: "u32",
  rope_inv_freq_count: "u32",
  fingerprint: "u64",
});

/** `hearth_tensor`: Where a tensor lies. */
export const Tensor = new Struct("hearth_tensor", {
  role: "u32",
  layer: "u32",
  dtype: "u32",
  num_dims: "u32",
  file: "u32",
  shape: "u64[2]",
  file_offset: "u64",
  num_bytes: "u64",
  name_offset: "u32",
  name_bytes: "u32",
});

/** `hearth_file`: A weights file. */
export const File = new Struct("hearth_file", {
  path_offset: "u32",
  path_bytes: "u32",
  reserved: "u32",
});

/** `hearth_engine_options`: Options of an engine; 0 is the default. */
export const EngineOptions = new Struct("hearth_engine_options", {
  device_kind: "u32",
  device_index: "u32",
  manual: "u32",
  num_threads: "u32",
  isa: "u32",
  activation_dtype: "u32",
  kv_cache_dtype: "u32",
  block_size: "u32",
  max_model_len: "u32",
  max_num_seqs: "u32",
  max_num_batched_tokens: "u32",
  kv_cache_memory_bytes: "u64",
  num_kv_blocks: "u32",
  max_queued_requests: "u32",
  max_queued_tokens: "u64",
  pipeline_depth: "u32",
  disable_prefix_caching: "u32",
  priority_ageing_ms: "u32",
  flat_bytes: "u32",
  memory_limit_bytes: "u64",
  num_tensors: "u32",
  num_files: "u32",
  load_format: "u32",
  gpu_memory_utilization: "f32",
});

/** `hearth_request_options`: One request. */
export const RequestOptions = new Struct("hearth_request_options", {
  num_sequences: "u32",
  max_tokens: "u32",
  min_tokens: "u32",
  temperature: "f32",
  top_p: "f32",
  min_p: "f32",
  top_k: "u32",
  repetition_penalty: "f32",
  presence_penalty: "f32",
  frequency_penalty: "f32",
  logprobs: "i32",
  prompt_logprobs: "i32",
  priority: "i32",
  seed: "u64",
  has_seed: "u32",
  deadline_ms: "u32",
  salt: "u64[2]",
  stop_ids_offset: "u32",
  stop_ids_count: "u32",
  logit_bias_offset: "u32",
  logit_bias_count: "u32",
  bad_words_offset: "u32",
  bad_words_count: "u32",
  flat_bytes: "u32",
  reserved: "u32",
});

/** `hearth_logit_bias`: Added to a token's logit. */
export const LogitBias = new Struct("hearth_logit_bias", {
  token: "u32",
  bias: "f32",
}, { sized: false });

/** `hearth_event`: One thing that happened to one request. */
export const Event = new Struct("hearth_event", {
  kind: "u32",
  request: "u64",
  sequence: "u32",
  token: "u32",
  logprob: "f32",
  finish_reason: "u32",
  cached_tokens: "u32",
  payload_offset: "u32",
  payload_bytes: "u32",
  num_output_tokens: "u32",
  queue_microseconds: "u64",
});

/** `hearth_token_logprob`: A token and its log probability. */
export const TokenLogprob = new Struct("hearth_token_logprob", {
  token: "u32",
  logprob: "f32",
}, { sized: false });

/** `hearth_engine_stats`: Counters since open and gauges of now. */
export const EngineStats = new Struct("hearth_engine_stats", {
  state: "u32",
  bytes_loaded: "u64",
  bytes_total: "u64",
  num_requests_running: "u32",
  num_requests_waiting: "u32",
  kv_blocks_total: "u32",
  kv_blocks_free: "u32",
  kv_blocks_cached: "u32",
  kv_blocks_held: "u32",
  num_prompt_tokens: "u64",
  num_prompt_tokens_cached: "u64",
  num_generation_tokens: "u64",
  num_requests_submitted: "u64",
  num_finished_stop: "u64",
  num_finished_length: "u64",
  num_finished_cancelled: "u64",
  num_finished_deadline: "u64",
  num_finished_error: "u64",
  num_preemptions: "u64",
  num_steps: "u64",
  num_step_tokens: "u64",
  step_microseconds: "u64",
  step_bytes: "u64",
  step_flops: "u64",
  weights_bytes: "u64",
  kv_bytes: "u64",
  workspace_bytes: "u64",
  expected_wait_ms: "u64",
  load_microseconds: "u64",
  max_model_len: "u32",
  max_num_seqs: "u32",
  max_num_batched_tokens: "u32",
  block_size: "u32",
  num_threads: "u32",
  isa: "u32",
  activation_dtype: "u32",
  kv_cache_dtype: "u32",
  num_sequences_running: "u32",
  device_kind: "u32",
  num_queued_tokens: "u64",
  num_launches: "u64",
  device_microseconds: "u64",
  device_index: "u32",
  reserved: "u32",
});
