#include "recorded_steps.h"

#include <algorithm>

namespace hearth::cuda {
namespace {

// Numbers of sequences that steps are recorded for.
constexpr int32_t kSizes[] = {1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128};

/// growth: how many times as many chunks the next key has.
std::vector<RecordKey> make_keys(const StepSizes& sizes, int32_t max_items, int32_t full_grid,
                                 int64_t growth) {
  std::vector<RecordKey> keys;
  const int32_t most_sequences = std::min({sizes.sequences, sizes.tokens, sizes.logits_rows});
  for (int32_t size : kSizes) {
    size = std::min(size, most_sequences);
    if (size < 1) break;
    const int32_t most =
        std::clamp(max_items / size, 1, std::max(num_chunks(sizes.max_context), 1));
    for (int64_t chunks = 1; chunks < most; chunks *= growth) {
      if (size * sizes.kv.num_kv_heads * chunks >= full_grid) break;
      keys.push_back({size, int32_t(chunks)});
    }
    keys.push_back({size, most});
    if (size == most_sequences) break;
  }
  return keys;
}

}  // namespace

RecordedSteps::RecordedSteps(const StepSizes& sizes, int32_t max_items, int32_t full_grid) {
  for (int64_t growth = 4;; growth *= 2) {
    keys_ = make_keys(sizes, max_items, full_grid, growth);
    // With growth beyond any context two keys a size are left: 24.
    if (keys_.size() <= kMostRecorded) return;
  }
}

RecordKey RecordedSteps::find(const StepInput& input) const {
  const int32_t count = input.num_tokens();
  if (count == 0 || input.num_sequences() != count ||
      int32_t(input.logits_tokens.size()) != count || int32_t(input.samples.size()) != count ||
      !input.block_copies.empty()) {
    return kUnrecorded;
  }
  int32_t most_chunks = 0;
  for (int32_t i = 0; i < count; ++i) {
    if (input.query_start[i + 1] != i + 1 || input.logits_tokens[i] != i ||
        input.samples[i].logits_row != i || input.samples[i].target >= 0) {
      return kUnrecorded;
    }
    most_chunks = std::max(most_chunks, num_chunks(input.context_len[i]));
  }
  const auto fits = std::find_if(keys_.begin(), keys_.end(),
                                 [&](const RecordKey& key) { return key.num_sequences >= count; });
  if (fits == keys_.end()) return kUnrecorded;
  // Of the first size that fits: to pad sequences costs more than to launch what is not recorded.
  const auto key = std::find_if(fits, keys_.end(), [&](const RecordKey& other) {
    return other.num_sequences != fits->num_sequences || other.max_chunks >= most_chunks;
  });
  const bool found = key != keys_.end() && key->num_sequences == fits->num_sequences;
  return found ? *key : kUnrecorded;
}

}  // namespace hearth::cuda
