/*
 * hearth_ops.h: each op of a backend alone on host buffers, for correctness tests and
 * micro-benchmarks. Conventions as in hearth.h. Not needed to serve.
 *
 *   - Every call makes a backend, uploads its inputs, runs the op and downloads the outputs.
 *   - Matrices are row-major. Activations and vectors are float; weights are as in a file of their
 *     dtype. Outputs are written on HEARTH_OK only.
 *   - Beyond what hearth.h names, HEARTH_UNSUPPORTED means an instruction path that this CPU lacks,
 *     or a CUDA device that this machine or build lacks.
 */
#ifndef HEARTH_OPS_H
#define HEARTH_OPS_H

#include "hearth.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Where and how an op runs, and how long it took. 56 bytes. */
typedef struct hearth_op_context {
  uint32_t size;
  uint32_t device_kind;  /* HEARTH_DEVICE_CPU (also AUTO) or _CUDA */
  uint32_t device_index; /* CUDA only */
  uint32_t isa; /* CUDA: a compute capability, 80 for 8.0, whose kernels are the latest; 0: all */
  uint32_t num_threads; /* CPU only */
  /* F32; CPU: INT8: how linear ops take quantized weights; CUDA: F16: inputs of linear ops and of
     attention in the weights' and KV's 16-bit type */
  uint32_t activation_dtype;
  uint32_t kv_cache_dtype; /* F32 or F16; CUDA: also BF16 */
  uint32_t block_size;     /* tokens a KV block: 16, 32 or 64 */
  uint32_t repeats;        /* runs of the op; 0: 1. Samplers go on from run to run */
  /* 1: gate_up and attention write what only linear ops can read (Tensor.is_operand), and a linear
     op with a weight of ones and zeros reads it: out comes through the weights' or KV's type */
  uint32_t operand_outputs;
  uint64_t best_ns;   /* out: of one run, begin_step() and finish_step() included */
  uint64_t median_ns; /* out */
} hearth_op_context;

/** A linear op, or two that are gated. 40 bytes. */
typedef struct hearth_op_linear_shape {
  uint32_t size;
  uint32_t weight_dtype;
  uint32_t rows; /* of the weight: out features */
  uint32_t cols; /* in features */
  uint32_t num_tokens;
  uint32_t norm_kind; /* of the input: HEARTH_NORM_*; 0: none */
  float norm_eps;
  uint32_t activation; /* gate_up: HEARTH_ACTIVATION_* */
  uint32_t gated;      /* gate_up: 1: act(gate x) * up x; 0: act(up x) */
  uint32_t reserved;
} hearth_op_linear_shape;

/** Sequences over a KV cache of one layer among others, which hold NaN. 80 bytes. */
typedef struct hearth_op_attention_shape {
  uint32_t size;
  uint32_t num_tokens;
  uint32_t num_sequences;
  uint32_t num_blocks; /* of the KV cache */
  uint32_t max_blocks; /* columns of the block table */
  uint32_t num_heads;
  uint32_t num_kv_heads;
  uint32_t head_dim;
  uint32_t window; /* a token sees itself and the window - 1 before it; 0: all */
  float scale;     /* of q . k */
  /* qkv only: */
  uint32_t hidden_size;
  uint32_t weight_dtype;
  uint32_t norm_kind; /* of the input; 0: none */
  float norm_eps;
  uint32_t head_norm_kind; /* of each head of q and k, before RoPE; 0: none */
  float head_norm_eps;
  uint32_t rope_dim; /* leading dimensions of a head that rotate; 0: none */
  uint32_t rope_style;
  float rope_scale;
  uint32_t reserved;
} hearth_op_attention_shape;

/** How a sequence samples; fields as in hearth_request_options. 88 bytes. */
typedef struct hearth_op_sampler {
  uint32_t size;
  float temperature;
  float top_p;
  float min_p;
  uint32_t top_k;
  float repetition_penalty;
  float presence_penalty;
  float frequency_penalty;
  uint32_t min_tokens;
  uint32_t sequence; /* 0 to n - 1: keys the noise, with seed and output_index */
  uint64_t seed;
  uint32_t stop_ids_offset; /* u32[], in the flat buffer as all that follow */
  uint32_t stop_ids_count;
  uint32_t logit_bias_offset; /* hearth_logit_bias[] */
  uint32_t logit_bias_count;
  uint32_t bad_words_offset; /* u32[]: for each word its length, then its ids */
  uint32_t bad_words_count;
  uint32_t prompt_offset; /* u32[] */
  uint32_t prompt_count;
  uint32_t output_offset; /* u32[]: tokens drawn before */
  uint32_t output_count;
} hearth_op_sampler;

/** One result that is wanted. 24 bytes. */
typedef struct hearth_op_sample_row {
  uint32_t size;
  uint32_t logits_row; /* ascending from row to row */
  uint32_t sampler;    /* index; unused with a target */
  int32_t target;      /* token whose logprob is wanted; -1: draw one */
  uint32_t output_index;
  int32_t num_logprobs; /* -1: none; k: of the token and of the k most likely, k at most 20 */
} hearth_op_sample_row;

/** Entries of `top` for each sample row of hearth_op_sample. */
#define HEARTH_OP_MAX_LOGPROBS 20

/**
 * out[t] = weight[ids[t]] (+ position_weight[positions[t] + position_offset])
 *
 * weight           [rows, cols] of weight_dtype; num_bytes what that makes
 * position_weight  [position_rows, cols] of weight_dtype; NULL: none
 * ids, positions   [num_tokens]
 * out              [num_tokens, cols]
 */
HEARTH_API hearth_status hearth_op_embed(hearth_op_context* context,
                                         const hearth_op_linear_shape* shape, const uint8_t* weight,
                                         const uint8_t* position_weight, uint32_t position_rows,
                                         uint32_t position_offset, const int32_t* ids,
                                         const int32_t* positions, float* out, char* error,
                                         uint32_t error_capacity);

/** out[r] = x[indices[r]]. x: [num_tokens, cols]. indices: [rows], ascending. out: [rows, cols]. */
HEARTH_API hearth_status hearth_op_gather(hearth_op_context* context,
                                          const hearth_op_linear_shape* shape,
                                          const int32_t* indices, const float* x, float* out,
                                          char* error, uint32_t error_capacity);

/** out = norm(x), both [num_tokens, cols]. weight: [cols]. bias: [cols], NULL: none. */
HEARTH_API hearth_status hearth_op_norm(hearth_op_context* context,
                                        const hearth_op_linear_shape* shape, const float* weight,
                                        const float* bias, const float* x, float* out, char* error,
                                        uint32_t error_capacity);

/**
 * out = norm(x) weightᵀ + bias + residual
 *
 * weight       [rows, cols] of weight_dtype
 * bias         [rows]; NULL: none
 * norm_weight  [cols]; norm_bias [cols]; NULL: none
 * x            [num_tokens, cols]
 * residual     [num_tokens, rows]; NULL: none
 * out          [num_tokens, rows]
 */
HEARTH_API hearth_status hearth_op_linear(hearth_op_context* context,
                                          const hearth_op_linear_shape* shape,
                                          const uint8_t* weight, const float* bias,
                                          const float* norm_weight, const float* norm_bias,
                                          const float* x, const float* residual, float* out,
                                          char* error, uint32_t error_capacity);

/**
 * out = act(norm(x) gateᵀ + gate_bias) * (norm(x) upᵀ + up_bias), or act(norm(x) upᵀ + up_bias)
 *
 * gate, up     [rows, cols] of weight_dtype; gate unused where gated is 0
 * biases       [rows]; NULL: none
 * norm_weight  [cols]; norm_bias [cols]; NULL: none
 * x, out       [num_tokens, cols], [num_tokens, rows]
 */
HEARTH_API hearth_status hearth_op_gate_up(hearth_op_context* context,
                                           const hearth_op_linear_shape* shape, const uint8_t* gate,
                                           const float* gate_bias, const uint8_t* up,
                                           const float* up_bias, const float* norm_weight,
                                           const float* norm_bias, const float* x, float* out,
                                           char* error, uint32_t error_capacity);

/**
 * q = rope(head_norm(norm(x) wqᵀ + bq)); K and V likewise (V without head norm and RoPE) into the
 * KV cache.
 *
 * wq, wk, wv   [num_heads * head_dim, hidden_size], [num_kv_heads * head_dim, hidden_size] twice
 * biases       [q_size], [kv_size], [kv_size] behind one another; NULL: none
 * norm_weight  [hidden_size]; norm_bias [hidden_size]; NULL: none
 * head_norms   weights for q, then for k: [2, head_dim]; NULL without head_norm_kind
 * inv_freq     [rope_dim / 2]
 * positions    [num_tokens]
 * slots        [num_tokens] block * block_size + offset: where K and V go
 * x            [num_tokens, hidden_size]
 * q            out: [num_tokens, num_heads * head_dim]
 * k, v         in and out: the cache, [num_blocks * block_size, num_kv_heads * head_dim], rounded
 * to
 *              kv_cache_dtype
 */
HEARTH_API hearth_status hearth_op_qkv(hearth_op_context* context,
                                       const hearth_op_attention_shape* shape, const uint8_t* wq,
                                       const uint8_t* wk, const uint8_t* wv, const float* biases,
                                       const float* norm_weight, const float* norm_bias,
                                       const float* head_norms, const float* inv_freq,
                                       const int32_t* positions, const int32_t* slots,
                                       const float* x, float* q, float* k, float* v, char* error,
                                       uint32_t error_capacity);

/**
 * out[t, h] = softmax(scale q[t, h] · K) V over the token's context, causal, within the window.
 *
 * query_start  [num_sequences + 1] sequence s owns tokens query_start[s] to query_start[s + 1], the
 *              last ones of its context
 * context_len  [num_sequences], own tokens included
 * block_table  [num_sequences, max_blocks], unused entries -1
 * copies       [num_copies, 2] blocks (from, to) that are copied first; NULL: none
 * q, out       [num_tokens, num_heads * head_dim]
 * k, v         the cache, as hearth_op_qkv
 */
HEARTH_API hearth_status hearth_op_attention(hearth_op_context* context,
                                             const hearth_op_attention_shape* shape,
                                             const int32_t* query_start, const int32_t* context_len,
                                             const int32_t* block_table, const int32_t* copies,
                                             uint32_t num_copies, const float* q, const float* k,
                                             const float* v, float* out, char* error,
                                             uint32_t error_capacity);

/**
 * Draws tokens and tells logprobs.
 *
 * logits    [num_logits_rows, vocab_size]
 * samplers  [num_samplers]; each call binds them anew
 * rows      [num_rows]; a sampler that several rows name draws in their order
 * flat      flat_bytes bytes that samplers address; NULL when 0
 * results   out: [num_rows] token and its logprob, NaN when not asked for
 * top       out: [num_rows, HEARTH_OP_MAX_LOGPROBS] the most likely ones; only num_logprobs are
 * written
 */
HEARTH_API hearth_status hearth_op_sample(hearth_op_context* context, const float* logits,
                                          uint32_t num_logits_rows, uint32_t vocab_size,
                                          const hearth_op_sampler* samplers, uint32_t num_samplers,
                                          const hearth_op_sample_row* rows, uint32_t num_rows,
                                          const uint8_t* flat, uint32_t flat_bytes,
                                          hearth_token_logprob* results, hearth_token_logprob* top,
                                          char* error, uint32_t error_capacity);

/** CPU: bytes a second that context->num_threads threads read together of num_bytes. */
HEARTH_API hearth_status hearth_op_read_bandwidth(hearth_op_context* context, uint64_t num_bytes,
                                                  double* bytes_per_second, char* error,
                                                  uint32_t error_capacity);

/** CPU: operations a second (2 a multiply-add) of the int8 instruction of context->isa. */
HEARTH_API hearth_status hearth_op_int8_peak(hearth_op_context* context,
                                             double* operations_per_second, char* error,
                                             uint32_t error_capacity);

/**
 * CUDA: runs a kernel that traps, so that the device is lost to this process and to all its
 * engines. For tests of what is said then: it never returns HEARTH_OK, but HEARTH_DEVICE_LOST.
 */
HEARTH_API hearth_status hearth_op_trap(hearth_op_context* context, char* error,
                                        uint32_t error_capacity);

#ifdef __cplusplus
}
#endif

#endif /* HEARTH_OPS_H */
