// K and V on their way through shared memory into mma.sync: what the kernels for decoding and
// attention_prefill_sm80 have in common.
//
// DESIGN
//   Stage   K or V of 64 tokens (head_dim 256: 32), at most 16 KiB: octets of tokens as cells have
//           them, [tokens / 8][head_dim / 8][8 tokens][8 dimensions], so that a core matrix is 128
//           bytes in a row and no load meets a bank conflict. A tile is kPerTile stages of K, then
//           as many of V.
//   Blocks  A chunk has at most 32 of them: each lane holds the id of one.
//   Unseen  Tokens that nobody sees come as zeros, and cost no traffic: a weight of 0 meets no NaN.
#pragma once

#include "attention_rows.cuh"

namespace hearth::cuda {

template <int kHeadDim>
struct StageShape {
  static constexpr int kTokens = kHeadDim > 128 ? 32 : 64;
  static constexpr int kOctets = kTokens / 8;
  static constexpr int kSteps = kTokens / 16;  // of an mma over the tokens
  static constexpr int kPerTile = kTileTokens / kTokens;
  static constexpr int kOctetBytes = kHeadDim * 16;
  static constexpr int kBytes = kOctets * kOctetBytes;
};

/// For lane i the id of a chunk's block i; 0 from token `end` of the context on. first_block: of the
/// context, in step.blocks.
__device__ __forceinline__ int32_t load_block_ids(const AttentionArgs& args, int32_t first_block,
                                                  int32_t chunk, int32_t end) {
  const int32_t lane = threadIdx.x % 32, block_tokens = args.kv.spec.block_tokens;
  const int32_t block = chunk * (kChunkTokens / block_tokens) + lane;
  if (lane >= kChunkTokens / block_tokens || block * block_tokens >= end) return 0;
  return max(args.step.blocks[first_block + block], 0);
}

/// Asks for a stage: part 0: K, 1: V, of tokens `first` of a chunk and on. wanted: tokens of the
/// chunk, others become zeros.
template <int kHeadDim, int kThreads>
__device__ __forceinline__ void load_stage(const AttentionArgs& args, int32_t kv_head, int part,
                                           int32_t block_ids, int32_t first,
                                           const TokenRange& wanted, uint32_t to) {
  using Stage = StageShape<kHeadDim>;
  constexpr int kUnits = Stage::kBytes / 16;  // a token's 8 dimensions each
  const KvSpec& spec = args.kv.spec;
  const std::byte* const cells = cell_address(args.kv, args.spec.layer, 0, part, kv_head);
  const size_t block_bytes = spec.block_bytes();
  const int log_block_tokens = 31 - __clz(spec.block_tokens);
#pragma unroll
  for (int base = 0; base < kUnits; base += kThreads) {
    const int unit = base + threadIdx.x;
    const int32_t token = first + unit / kHeadDim * 8 + unit % 8;
    const int32_t block = __shfl_sync(0xffffffff, block_ids, token >> log_block_tokens);
    if (kUnits % kThreads != 0 && unit >= kUnits) break;  // whole warps
    const std::byte* const from = cells + block * block_bytes +
                                  (token & (spec.block_tokens - 1)) / 8 * Stage::kOctetBytes +
                                  unit % kHeadDim * 16;
    copy_async(to + unit * 16, from, wanted.contains(token));
  }
}

/// products[i] += q · k of the octet first_octet + i of a stage, dimensions ascending. query(step,
/// a) gives the A operand of dimensions 16 step and on.
template <class Half, int kHeadDim, int kOctets, class Query>
__device__ __forceinline__ void multiply_keys(const Query& query, uint32_t stage, int first_octet,
                                              float (*products)[4]) {
  constexpr int kOctetBytes = StageShape<kHeadDim>::kOctetBytes;
  const int lane = threadIdx.x % 32, matrix = lane / 8;
  const uint32_t row = stage + first_octet * kOctetBytes + lane % 8 * 16;
  uint32_t a[4];
  if constexpr (kOctets == 1) {
    static_assert(kHeadDim % 32 == 0);
    uint32_t b[4];
#pragma unroll
    for (int step = 0; step < kHeadDim / 16; step += 2) {
      load_matrices(b, row + (step * 2 + matrix) * 128);
      query(step, a);
      mma<Half>(products[0], a, b[0], b[1]);
      query(step + 1, a);
      mma<Half>(products[0], a, b[2], b[3]);
    }
  } else {
    static_assert(kOctets % 2 == 0);
    // All loads of a step, then its products: none waits for a load of its own.
    uint32_t pairs[kOctets / 2][4];
#pragma unroll
    for (int step = 0; step < kHeadDim / 16; ++step) {
#pragma unroll
      for (int pair = 0; pair < kOctets / 2; ++pair) {
        load_matrices(pairs[pair],
                      row + (pair * 2 + matrix / 2) * kOctetBytes + (step * 2 + matrix % 2) * 128);
      }
      query(step, a);
#pragma unroll
      for (int pair = 0; pair < kOctets / 2; ++pair) {
        mma<Half>(products[pair * 2], a, pairs[pair][0], pairs[pair][1]);
        mma<Half>(products[pair * 2 + 1], a, pairs[pair][2], pairs[pair][3]);
      }
    }
  }
}

/// o[i] += weights times v of tokens 16 step and on of a stage, for the 16 dimensions from
/// 16 (first + i kStride) on.
template <class Half, int kHeadDim, int kStride, int kCount>
__device__ __forceinline__ void multiply_values(const uint32_t (&weights)[4], uint32_t stage,
                                                int step, int first, float (&o)[kCount][2][4]) {
  constexpr int kOctetBytes = StageShape<kHeadDim>::kOctetBytes;
  const int lane = threadIdx.x % 32, matrix = lane / 8;
  const uint32_t row =
      stage + (step * 2 + matrix % 2) * kOctetBytes + matrix / 2 * 128 + lane % 8 * 16;
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    const int at = first + i * kStride;
    if (kHeadDim / 16 < kStride * kCount && at >= kHeadDim / 16) break;
    uint32_t b[4];
    load_matrices_transposed(b, row + at * 256);
    mma<Half>(o[i][0], weights, b[0], b[1]);
    mma<Half>(o[i][1], weights, b[2], b[3]);
  }
}

}  // namespace hearth::cuda
