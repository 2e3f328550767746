// A step as ops see it: the KV cache, the ragged batch, and its results.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "dtype.h"

namespace hearth {

// ----------------------------------------------------------------------------------- KV cache

/// Logical layout [block][layer][K|V][kv_head][token][head_dim]: a block is contiguous across
/// layers, so that a tier can move it with one copy. Inside a (block, layer, K|V, kv_head) cell the
/// order of the block_tokens * head_dim elements is the backend's.
struct KvSpec {
  int32_t num_layers = 0;
  int32_t num_kv_heads = 0;
  int32_t head_dim = 0;
  int32_t block_tokens = 16;
  DType dtype = DType::kF16;  // kF16, kF32 or, where the backend has it, kBF16

  constexpr size_t cell_bytes() const {
    return size_t(block_tokens) * head_dim * (dtype == DType::kF32 ? 4 : 2);
  }
  constexpr size_t block_bytes() const { return cell_bytes() * num_kv_heads * 2 * num_layers; }
};

struct KvCache {
  KvSpec spec;
  int32_t num_blocks = 0;
  std::byte* data = nullptr;  // num_blocks * spec.block_bytes(), device
};

struct BlockCopy {
  int32_t from;
  int32_t to;
};

// -------------------------------------------------------------------------------------- a step

/// A table of RoPE's frequencies. A model may have several; layers name theirs by index.
struct RopeView {
  std::vector<float> inv_freq;  // host; dim / 2; empty: no RoPE
  float scale = 1;              // of cos and sin
  bool interleaved = false;     // pairs (2i, 2i + 1), else (i, i + dim/2)
  int32_t dim() const { return int32_t(inv_freq.size()) * 2; }
};

/// One row of results: a token to sample, or the logprob of a known one.
struct SampleRow {
  int32_t logits_row;    // index into StepInput::logits_tokens; rows are in its order
  int32_t sampler;       // from Samplers::bind(); -1 for a prompt's logprob
  int32_t target;        // the prompt token whose logprob is asked for; -1: sample
  int32_t output_index;  // 0 for a sequence's first output token: keys the noise, gates min_tokens
  int32_t num_logprobs;  // -1: none; k: of the token and of the k most likely
};

/// The ragged batch of one step, in host memory that stays valid until its finish_step().
///
///   sequence s owns tokens query_start[s] .. query_start[s+1], the last ones of its context:
///   position of its first token = context_len[s] - (query_start[s+1] - query_start[s])
struct StepInput {
  std::span<const int32_t> token_ids;    // [T] an id, or ~r: what row r of the last step drew
  std::span<const int32_t> positions;    // [T]
  std::span<const int32_t> kv_slots;     // [T] block * block_tokens + offset: where K and V go
  std::span<const int32_t> query_start;  // [S + 1]
  std::span<const int32_t> context_len;  // [S] own tokens included
  std::span<const int32_t> block_table;  // [S, max_blocks], unused entries -1
  int32_t max_blocks = 0;
  std::span<const BlockCopy> block_copies;  // done first (copy on write)
  std::span<const int32_t> logits_tokens;   // [R] token indices whose logits are needed, ascending
  std::span<const SampleRow> samples;       // by ascending logits_row

  int32_t num_tokens() const { return int32_t(token_ids.size()); }
  int32_t num_sequences() const { return int32_t(context_len.size()); }
};

struct SampleResult {
  uint32_t token = 0;
  float logprob = 0;                      // of the raw logits; NaN when not asked for
  std::vector<hearth_token_logprob> top;  // most likely first, ties to the lowest id
  bool not_finite = false;                // a logit of its row was not: nothing is drawn
};

/// One per SampleRow, in order.
struct StepResult {
  std::vector<SampleResult> samples;
};

/// The largest step there will be, and what its ops work on: all that a backend needs to know to
/// reserve every byte of a step when a model is opened.
struct StepSizes {
  int32_t tokens = 1;
  int32_t sequences = 0;    // and samplers
  int32_t logits_rows = 1;  // of one linear op over gathered rows
  int32_t sample_rows = 0;
  int32_t cols = 1;         // widest input of a linear op
  int32_t num_heads = 0;    // query heads of a layer
  KvSpec kv;                // num_kv_heads 0: no K and V
  int32_t max_context = 0;  // tokens of a sequence
  int32_t vocab_size = 0;
  int32_t max_output = 0;      // tokens that a sequence draws at most
  int32_t rope_half = 0;       // frequencies of all RoPE tables
  uint32_t weight_dtypes = 0;  // of linear ops: bit i stands for DType(i)

  bool has_weights_of(DType dtype) const { return (weight_dtypes >> uint32_t(dtype) & 1) != 0; }
};

}  // namespace hearth
