#include "attention_plan.h"

#include <algorithm>

namespace hearth::cuda {
void AttentionPlan::make(const StepInput& input, int32_t max_items) {
  decodes.clear();
  batches.clear();
  prefills.clear();
  for (int32_t s = 0; s < input.num_sequences(); ++s) {
    const int32_t first = input.query_start[s], end = input.query_start[s + 1];
    if (end - first == 1) {
      const int32_t chunks = num_chunks(input.context_len[s]);
      if (batches.empty() || batches.back() + chunks > max_items) batches.push_back(0);
      batches.back() += chunks;
      for (int32_t chunk = 0; chunk < chunks; ++chunk) {
        decodes.push_back({s, chunk, input.context_len[s], 0});
      }
    } else {
      for (int32_t token = first; token < end; token += kPrefillTile) {
        prefills.push_back({s, token, std::min(kPrefillTile, end - token), 0});
      }
    }
  }
  const auto tokens_seen = [&](const PrefillItem& item) {
    const int32_t after = input.query_start[item.sequence + 1] - item.first_token - item.num_tokens;
    return input.context_len[item.sequence] - after;
  };
  std::stable_sort(
      prefills.begin(), prefills.end(),
      [&](const PrefillItem& a, const PrefillItem& b) { return tokens_seen(a) > tokens_seen(b); });
}

}  // namespace hearth::cuda
