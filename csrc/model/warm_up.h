// The input of a step that readies a device: it computes nothing that anybody reads, and writes
// nothing into the KV cache.
#pragma once

#include <vector>

#include "../backend/backend.h"

namespace hearth {

class WarmUpInput {
 public:
  /// Contexts are cut to max_context. Binds samplers with every option
  /// for as long as this lives, so that sampling too has nothing left to load.
  WarmUpInput(Samplers& samplers, const WarmUpStep& step, const KvCache& kv, int32_t max_context);
  ~WarmUpInput();
  WarmUpInput(const WarmUpInput&) = delete;
  WarmUpInput& operator=(const WarmUpInput&) = delete;

  const StepInput& step() const { return input_; }

 private:
  Samplers& samplers_;
  std::vector<int32_t> bound_;
  std::vector<int32_t> zeros_, positions_, slots_, query_start_, context_len_, blocks_, logits_;
  std::vector<SampleRow> rows_;
  StepInput input_;
};

}  // namespace hearth
