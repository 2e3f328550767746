#include "warm_up.h"

#include <algorithm>

namespace hearth {

WarmUpInput::WarmUpInput(Samplers& samplers, const WarmUpStep& step, const KvCache& kv,
                         int32_t max_context)
    : samplers_(samplers) {
  const int32_t block_tokens = kv.spec.block_tokens;
  const int32_t context = std::clamp(step.context_len, 1, max_context);
  const int32_t tokens = std::clamp(step.tokens_each, 1, context);
  const int32_t blocks = (context + block_tokens - 1) / block_tokens;
  const uint32_t stop[] = {0};
  const hearth_logit_bias bias[] = {{0, 1.f}};
  const uint32_t word[] = {2, 0, 0};  // one of two tokens
  SamplerSpec greedy, full;
  greedy.max_output = full.max_output = 1;
  full.temperature = 1;
  full.top_p = 0.9f;
  full.min_p = 0.01f;
  full.top_k = 8;
  full.repetition_penalty = 1.1f;
  full.presence_penalty = full.frequency_penalty = 0.1f;
  full.min_tokens = 1;
  full.stop_ids = stop;
  full.logit_bias = bias;
  full.bad_words = word;

  query_start_.push_back(0);
  for (int32_t s = 0; s < step.num_sequences; ++s) {
    for (int32_t i = 0; i < tokens; ++i) positions_.push_back(context - tokens + i);
    query_start_.push_back(int32_t(positions_.size()));
    context_len_.push_back(context);
    // All sequences read block 0, whatever it holds.
    blocks_.insert(blocks_.end(), size_t(blocks), 0);
    logits_.push_back(query_start_.back() - 1);
    bound_.push_back(samplers.bind(s % 2 == 0 ? full : greedy));
    rows_.push_back({s, bound_.back(), -1, 0, s % 2 == 0 ? 1 : -1});
  }
  zeros_.assign(positions_.size(), 0);
  slots_.assign(positions_.size(), -1);
  input_ = {.token_ids = zeros_,
            .positions = positions_,
            .kv_slots = slots_,
            .query_start = query_start_,
            .context_len = context_len_,
            .block_table = blocks_,
            .max_blocks = blocks,
            .block_copies = {},
            .logits_tokens = logits_,
            .samples = rows_};
}

WarmUpInput::~WarmUpInput() {
  for (const int32_t sampler : bound_) samplers_.release(sampler);
}

}  // namespace hearth
