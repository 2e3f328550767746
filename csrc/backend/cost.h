// What each op must move and compute, whatever the backend: the figures that stats, benchmarks and
// kernel headers quote. Bytes are those of weights and KV, which are too many to stay in a cache;
// activations are left out, since they are not.
#pragma once

#include <algorithm>
#include <cstdint>

#include "ops.h"

namespace hearth {

struct Cost {
  uint64_t bytes = 0;
  uint64_t flops = 0;  // 2 per multiply-add, of integers too

  Cost& operator+=(const Cost& other) {
    bytes += other.bytes;
    flops += other.flops;
    return *this;
  }
};

/// Bytes of a weight as its backend stores it.
inline uint64_t weight_bytes(const WeightView& weight) {
  return uint64_t(weight.layout.num_tiles()) * weight.layout.tile_bytes;
}

/// A linear op over `rows` rows of input: the weight is read once.
inline Cost linear_cost(const LinearView& linear, int32_t rows) {
  const WeightLayout& layout = linear.weight.layout;
  if (rows == 0) return {};
  return {weight_bytes(linear.weight), 2ull * layout.rows * layout.cols * rows};
}

/// One row of the table a token.
inline Cost embed_cost(const WeightView& embedding, int32_t tokens) {
  return {row_bytes(embedding.layout.source, embedding.layout.cols) * tokens, 0};
}

/// Each sequence's K and V are read once, from the first token that its first query sees. A query
/// multiplies with every K and V that it sees itself.
inline Cost attention_cost(const StepInput& input, const KvSpec& kv,
                           const AttentionSpec& attention) {
  const uint64_t token_bytes =
      uint64_t(kv.cell_bytes()) / kv.block_tokens * kv.num_kv_heads * 2;  // K and V
  const uint64_t pair_flops = 4ull * attention.num_heads * kv.head_dim;
  Cost cost;
  for (int32_t s = 0; s < input.num_sequences(); ++s) {
    const int64_t context = input.context_len[s];
    const int64_t queries = input.query_start[s + 1] - input.query_start[s];
    const int64_t window = attention.window > 0 ? attention.window : context;
    const int64_t seen_by_first = std::min(context - queries + 1, window);
    cost.bytes += (queries > 0 ? seen_by_first + queries - 1 : 0) * token_bytes;
    // Query i sees min(seen_by_first + i, window) tokens.
    const int64_t growing = std::min(queries, window - seen_by_first);
    const int64_t pairs =
        growing * seen_by_first + growing * (growing - 1) / 2 + (queries - growing) * window;
    cost.flops += pairs * pair_flops;
  }
  return cost;
}

}  // namespace hearth
