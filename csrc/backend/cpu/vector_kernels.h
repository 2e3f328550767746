// The float kernels of an instruction path: attention over a chunk of KV, softmax weights of
// logits, conversion to half. Plain functions on plain data, as in kernels.h, but written once:
// over the sixteen floats of floats16_<path>.h, in attention_kernel.h and sample_kernel.h.
#pragma once

#include <cstdint>

#include "isa.h"

namespace hearth {

/// KV tokens whose softmax is computed together. Chunks are counted from position 0, whatever the
/// query, so that a result does not depend on how the work was cut. A multiple of every
/// block_tokens.
inline constexpr int32_t kChunkTokens = 128;
inline constexpr int32_t kChunkBlocks = kChunkTokens / 16;
/// Rows (a token's query of one head) that a kernel takes at most.
inline constexpr int32_t kMaxAttentionRows = 12;
/// Logits whose weights are computed together.
inline constexpr int32_t kLogitsBlock = 256;

/// Rows over one chunk of the K and V of one head.
struct AttentionChunk {
  int32_t num_rows;
  const float* q[kMaxAttentionRows];  // [head_dim]
  int32_t begin[kMaxAttentionRows];   // tokens of the chunk that the row sees: [begin, end)
  int32_t end[kMaxAttentionRows];     // begin or less: none
  float* partial[kMaxAttentionRows];  // out, see partial_floats()
  const void* k[kChunkBlocks];        // of 16 tokens: [head_dim] rows, k_stride elements apart
  const void* v[kChunkBlocks];        // of 16 tokens: [16][head_dim]; both only up to the last end
  const void* next_k[kChunkBlocks];   // what is brought into the cache meanwhile, where k is used
  const void* next_v[kChunkBlocks];   // and v is; null: nothing
  int32_t k_stride;
  int32_t head_dim;
  bool is_half;  // else float
  float scale;   // of q . k, times log2(e)
};

/// A row's softmax over some of its context: sum of exp2(scale (s - maximum)) v [padded head_dim],
/// the maximum, the sum of the weights, and padding. Nothing seen: zeros and maximum -infinity.
constexpr int32_t padded_dim(int32_t head_dim) { return (head_dim + 15) / 16 * 16; }
constexpr int32_t partial_floats(int32_t head_dim) { return padded_dim(head_dim) + 16; }

struct VectorKernels {
  const char* name;
  int32_t attention_rows;  // that attend() likes to have

  void (*attend)(const AttentionChunk& chunk);
  /// state = state + partial, of a chunk that follows.
  void (*merge)(float* state, const float* partial, int32_t head_dim, float scale);
  /// out[head_dim] = the softmax's result
  void (*finish)(const float* state, int32_t head_dim, float* out);

  void (*halves_from_floats)(const float* from, int32_t count, uint16_t* to);

  /// maxima[i] = largest of logits[i * kLogitsBlock, ...). Returns 0, or NaN where one is not
  /// finite.
  float (*block_maxima)(const float* logits, int32_t count, float* maxima);
  /// weights[i] = exp2(scale (logits[i] - maximum)), 0 where the logit is below least_logit or the
  /// weight below least_weight. count is at most kLogitsBlock. Returns the sum.
  float (*weigh)(const float* logits, int32_t count, float maximum, float scale, float least_logit,
                 float least_weight, float* weights);
};

extern const VectorKernels kVectorKernelsGeneric;
#if defined(__x86_64__)
extern const VectorKernels kVectorKernelsAvx2;
extern const VectorKernels kVectorKernelsAvx512;
#endif

const VectorKernels& vector_kernels(Isa isa);

}  // namespace hearth
