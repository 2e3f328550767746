// A step's input in device memory, as kernels see it. The arrays lie at addresses that depend on
// the step's sizes alone, so that a recorded step can be replayed over new contents.
#pragma once

#include <cstdint>

#include "../backend.h"

namespace hearth::cuda {

inline constexpr int kChunkTokens = 512;  // of a context: reduced alone, then merged in order
inline constexpr int kTileTokens = 128;   // of a chunk: a step of the online softmax
inline constexpr int kPrefillTile = 128;  // queries of a PrefillItem at most

/// One sequence of a step with a single query, by one chunk of its context. What a kernel would have
/// to look up by the sequence is here as well: a look costs half a microsecond, once a layer.
struct alignas(16) DecodeItem {
  int32_t sequence;
  int32_t chunk;  // kChunkTokens each, from position 0
  int32_t context_len;
  int32_t first_block;  // of the context, in StepView::blocks
};

/// Up to kPrefillTile queries of a sequence that has several.
struct PrefillItem {
  int32_t sequence;
  int32_t first_token;  // of the step
  int32_t num_tokens;
  int32_t padding;
};

/// By value in kernel arguments; all pointers are the device's. Meaning as in StepInput. Padding
/// that fills a step up to its recorded size: kv_slots -1, context_len 0, token id 0.
struct StepView {
  int32_t num_tokens = 0;
  int32_t num_sequences = 0;
  const int32_t* token_ids = nullptr;
  const int32_t* positions = nullptr;
  const int32_t* kv_slots = nullptr;
  const int32_t* query_start = nullptr;
  const int32_t* context_len = nullptr;
  const int32_t* logits_tokens = nullptr;
  /// Block i of sequence s: blocks[first_block[s] + i], as many as its context fills.
  const int32_t* first_block = nullptr;
  const int32_t* blocks = nullptr;

  // The plan of attention. num_decodes lies on the device: a recorded step has room for
  // max_decodes.
  const int32_t* num_decodes = nullptr;
  const DecodeItem* decodes = nullptr;
  int32_t max_decodes = 0;
  const PrefillItem* prefills = nullptr;
  int32_t num_prefills = 0;

  const SampleRow* samples = nullptr;
  int32_t num_samples = 0;
  /// What each sample row of the last step drew; token_ids ~r names row r. The sampler writes it.
  int32_t* drawn = nullptr;

  constexpr const int32_t* blocks_of(int32_t sequence) const {
    return blocks + first_block[sequence];
  }
};

/// cos and sin of a RoPE table's angles, scaled: [num_tokens, half]. Made by a step's first kernels.
struct RopeAngles {
  const float* cos = nullptr;
  const float* sin = nullptr;
  int32_t half = 0;  // 0: no RoPE
  bool interleaved = false;
};

}  // namespace hearth::cuda
