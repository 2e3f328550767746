// What every attention kernel does to a row (a token's query of one head), in one body each, so
// that the bits cannot differ: what it sees, the online softmax, the merge of chunks, and where K,
// V and results lie. Numerics: docs/decisions/0007-cuda-numerics.md.
//
// DESIGN
//   Fragments   Scores of 16 rows by a tile of 128 tokens lie in a warp as the accumulators of
//               mma.m16n8k16 (and of wgmma.m64n128k16: a warp of the warpgroup has 16 rows):
//
//                 s[j][0], s[j][1]   row g,     tokens 8j + 2t, 8j + 2t + 1     lane = 4 g + t
//                 s[j][2], s[j][3]   row g + 8
//
//               Two neighbouring j of the weights are then an A operand of 16 tokens.
//   Empty       A row that saw nothing yet has m = -inf, l = 0, O = 0. A chunk that it does not see
//               changes nothing; the first that it sees is taken as it is.
#pragma once

#include <numbers>

#include "attention.h"
#include "ptx.cuh"

namespace hearth::cuda {

inline constexpr int kTileOctets = kTileTokens / 8;  // of tokens
inline constexpr float kMinusInfinity = -__builtin_inff();

// --------------------------------------------------------------------------- what a row sees

/// Tokens [begin, end) of a context.
struct TokenRange {
  int32_t begin, end;

  __device__ __forceinline__ bool contains(int32_t token) const {
    return token >= begin && token < end;
  }
};

/// What a token at this position sees: itself and what is before it, within the window.
__device__ __forceinline__ TokenRange visible_tokens(int32_t position, int32_t window) {
  return {window > 0 ? max(position - window + 1, 0) : 0, position + 1};
}

// ----------------------------------------------------------------------------- where things lie

/// Stores dimensions dim (even) and dim + 1 of a token's result of a head.
template <class Half>
__device__ __forceinline__ void store_pair(const AttentionArgs& args, int32_t token, int32_t head,
                                           int32_t dim, float low, float high) {
  const int32_t head_dim = args.kv.spec.head_dim, col = head * head_dim + dim;
  if (args.out_is_operand) {
    const size_t at = operand_element(token, col, round_up(args.step.num_tokens, 8));
    *reinterpret_cast<uint32_t*>(static_cast<Half*>(args.out) + at) = round_pair<Half>(low, high);
  } else {
    const size_t at = size_t(token) * args.spec.num_heads * head_dim + col;
    *reinterpret_cast<float2*>(static_cast<float*>(args.out) + at) = make_float2(low, high);
  }
}

/// Stores the zeros that pad a token's result to whole slabs of columns, if it is an operand. By
/// `num_threads` threads, of which this is number `thread`: once for each token.
template <class Half>
__device__ __forceinline__ void store_padding(const AttentionArgs& args, int32_t token, int thread,
                                              int num_threads) {
  if (!args.out_is_operand) return;
  const int32_t cols = args.spec.num_heads * args.kv.spec.head_dim;
  for (int32_t col = cols + thread; col < round_up(cols, kSlabCols); col += num_threads) {
    const size_t at = operand_element(token, col, round_up(args.step.num_tokens, 8));
    static_cast<Half*>(args.out)[at] = round_one<Half>(0);
  }
}

// -------------------------------------------------------------------------- the online softmax

/// Beside a row's O: the largest score so far, and the sum of weights. Within a chunk the sum is
/// the lane's own; add_quad() makes it the row's.
struct RowState {
  float m = kMinusInfinity;
  float l = 0;
};

/// What makes a score of a product q · k: weights are powers of 2.
__device__ __forceinline__ float score_factor(const AttentionSpec& spec) {
  return spec.scale * std::numbers::log2e_v<float>;
}

/// The four lanes of a row, added.
__device__ __forceinline__ float add_quad(float value) {
  value += __shfl_xor_sync(0xffffffff, value, 1);
  return value + __shfl_xor_sync(0xffffffff, value, 2);
}

/// Products to scores.
__device__ __forceinline__ void scale_scores(float (&s)[kTileOctets][4], float factor) {
#pragma unroll
  for (auto& octet : s) {
#pragma unroll
    for (float& score : octet) score *= factor;
  }
}

/// Scores of tokens that a row does not see become -inf. first: the token of s[0][0], that is the
/// tile's first + 2t. visible: of rows g and g + 8.
__device__ __forceinline__ void mask_scores(float (&s)[kTileOctets][4], int32_t first,
                                            const TokenRange (&visible)[2]) {
#pragma unroll
  for (int j = 0; j < kTileOctets; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (!visible[i / 2].contains(first + j * 8 + i % 2)) s[j][i] = kMinusInfinity;
    }
  }
}

/// The step of a row's state over a tile, for row g (half 0) or g + 8 (half 1): scores become
/// weights. Returns the factor for what O has so far.
__device__ __forceinline__ float weigh_row(float (&s)[kTileOctets][4], int half, RowState& row) {
  float largest = kMinusInfinity;
#pragma unroll
  for (int j = 0; j < kTileOctets; ++j) {
    largest = fmaxf(largest, fmaxf(s[j][half * 2], s[j][half * 2 + 1]));
  }
  largest = fmaxf(largest, __shfl_xor_sync(0xffffffff, largest, 1));
  largest = fmaxf(largest, __shfl_xor_sync(0xffffffff, largest, 2));
  const float m = fmaxf(row.m, largest);
  const float base = m == kMinusInfinity ? 0 : m;
  const float factor = exp2_approximate(row.m - base);
  float l = row.l * factor;
#pragma unroll
  for (int j = 0; j < kTileOctets; ++j) {
#pragma unroll
    for (int i = half * 2; i < half * 2 + 2; ++i) {
      s[j][i] = exp2_approximate(s[j][i] - base);
      l += s[j][i];
    }
  }
  row = {m, l};
  return factor;
}

/// The A operand of 16 tokens, 16 step to 16 step + 15 of the tile, of weights rounded to 16 bits.
template <class Half>
__device__ __forceinline__ void weights_operand(const float (&s)[kTileOctets][4], int step,
                                                uint32_t (&a)[4]) {
  a[0] = round_pair<Half>(s[2 * step][0], s[2 * step][1]);
  a[1] = round_pair<Half>(s[2 * step][2], s[2 * step][3]);
  a[2] = round_pair<Half>(s[2 * step + 1][0], s[2 * step + 1][1]);
  a[3] = round_pair<Half>(s[2 * step + 1][2], s[2 * step + 1][3]);
}

// ------------------------------------------------------------------------- the merge of chunks

/// How a row's total and a chunk's O become the new total's.
struct MergeFactors {
  float total, chunk;
  bool takes_chunk, keeps_total;  // as they are

  __device__ __forceinline__ float merge(float total_o, float chunk_o) const {
    if (keeps_total) return total_o;
    return takes_chunk ? chunk_o : fmaf(chunk_o, chunk, total_o * total);
  }
};

/// Merges a chunk's state (l of the whole row) into the total's, and says how to merge O.
__device__ __forceinline__ MergeFactors merge_chunk(RowState& total, const RowState& chunk) {
  MergeFactors factors = {1, 0, total.m == kMinusInfinity, chunk.m == kMinusInfinity};
  if (factors.keeps_total) return factors;
  if (factors.takes_chunk) {
    total = chunk;
    return factors;
  }
  const float m = fmaxf(total.m, chunk.m);
  factors.total = exp2_approximate(total.m - m);
  factors.chunk = exp2_approximate(chunk.m - m);
  total = {m, fmaf(chunk.l, factors.chunk, total.l * factors.total)};
  return factors;
}

}  // namespace hearth::cuda
