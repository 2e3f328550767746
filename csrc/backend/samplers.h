// A sequence's sampling state (counts, history), kept between its steps.
#pragma once

#include <cstdint>
#include <span>

#include "../hearth.h"

namespace hearth {

/// How a sequence samples. Spans are copied by Samplers::bind().
/// Order of the processors, as vLLM: logprobs are taken of the raw logits; then bans (bad words,
/// stop ids before min_tokens), logit bias, repetition, frequency, presence penalties; temperature
/// 0 takes the arg max (ties to the lowest id); else temperature, min_p, top_k, top_p, and the
/// draw.
struct SamplerSpec {
  float temperature = 0;
  float top_p = 1;
  float min_p = 0;
  uint32_t top_k = 0;
  float repetition_penalty = 1;
  float presence_penalty = 0;
  float frequency_penalty = 0;
  uint32_t min_tokens = 0;
  uint64_t seed = 0;
  uint32_t sequence = 0;  // 0 to n - 1; the noise is Philox keyed by (seed, sequence, output_index)
  uint32_t max_output = 0;  // tokens that it draws at most, `output` included
  std::span<const uint32_t> stop_ids;
  std::span<const hearth_logit_bias> logit_bias;
  std::span<const uint32_t> bad_words;  // for each word its length, then its ids
  std::span<const uint32_t> prompt;     // for the repetition penalty
  std::span<const uint32_t> output;     // tokens made already (a sequence that is taken over)
};

/// By the thread that calls ops, between steps.
class Samplers {
 public:
  virtual ~Samplers() = default;

  /// What bind() returns, having changed nothing, where others have the room that was reserved.
  static constexpr int32_t kNoRoom = -1;

  /// A sampler, 0 or more, until release(). With none bound there is room for any.
  virtual int32_t bind(const SamplerSpec& spec) = 0;
  virtual void release(int32_t sampler) = 0;
};

}  // namespace hearth
