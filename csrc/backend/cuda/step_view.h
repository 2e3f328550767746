// A step's input in device memory, as kernels see it. The arrays lie at addresses that depend on
// the step's sizes alone, so that a recorded step can be replayed over new contents.
#pragma once

#include <cstdint>

#include "../backend.h"

namespace hearth::cuda {

inline constexpr int kChunkTokens = 512;  // of a context: reduced alone, then merged in order
inline constexpr int kTileTokens = 128;   // of a chunk: a step of the online softmax
inline constexpr int kPrefillTile = 128;  // queries of a PrefillItem at most

/// One sequence of a step with a single query, by one chunk of its context.
struct DecodeItem {
  int32_t sequence;
  int32_t chunk;  // kChunkTokens each, from position 0
};

/// Up to kPrefillTile queries of a sequence that has several.
struct PrefillItem {
  int32_t sequence;
  int32_t first_token;  // of the step
  int32_t num_tokens;
  int32_t padding;
};

/// Sample rows first to first + count, all of one sampler, are drawn one after the other.
struct SampleGroup {
  int32_t first;
  int32_t count;
};

/// By value in kernel arguments; all pointers are the device's. Meaning as in StepInput. Padding
/// that fills a step up to its recorded size: kv_slots -1, context_len 0, token id 0.
struct StepView {
  int32_t num_tokens = 0;
  int32_t num_sequences = 0;
  int32_t max_blocks = 0;  // columns of block_table
  const int32_t* token_ids = nullptr;
  const int32_t* positions = nullptr;
  const int32_t* kv_slots = nullptr;
  const int32_t* query_start = nullptr;
  const int32_t* context_len = nullptr;
  const int32_t* block_table = nullptr;
  const int32_t* logits_tokens = nullptr;
  const BlockCopy* block_copies = nullptr;

  // The plan of attention. num_decodes lies on the device: a recorded step has room for
  // max_decodes.
  const int32_t* num_decodes = nullptr;
  const DecodeItem* decodes = nullptr;
  int32_t max_decodes = 0;
  const PrefillItem* prefills = nullptr;
  int32_t num_prefills = 0;

  const SampleRow* samples = nullptr;
  const SampleGroup* groups = nullptr;  // count 0: padding
  int32_t num_samples = 0;
  int32_t num_groups = 0;

  /// What each sample row of the last step drew; token_ids ~r names row r.
  int32_t* drawn = nullptr;
  // cos and sin of RoPE, scaled: [num_tokens, rope dim / 2]. Made by the step's first kernel.
  const float* rope_cos = nullptr;
  const float* rope_sin = nullptr;
};

}  // namespace hearth::cuda
