// What hearth_submit was given, copied and checked.
#pragma once

#include <cstdint>
#include <vector>

#include "../backend/samplers.h"
#include "../hearth.h"

namespace hearth {

struct RequestLimits {
  uint32_t vocab_size;
  int32_t max_model_len;
  int32_t max_num_seqs;
};

struct RequestOptions {
  hearth_request_options values;
  std::vector<uint32_t> stop_ids;  // ascending, for is_stop()
  std::vector<hearth_logit_bias> logit_bias;
  std::vector<uint32_t> bad_words;

  /// Runs for every token on the engine's thread: a binary search.
  bool is_stop(uint32_t token) const;
};

/// Throws Error(HEARTH_INVALID_ARGUMENT) that names the field, its value and what is allowed.
/// tokens: num_tokens ids. flat: values.flat_bytes bytes, of any alignment.
RequestOptions parse_request(const uint32_t* tokens, uint32_t num_tokens,
                             const hearth_request_options& values, const uint8_t* flat,
                             const RequestLimits& limits);

/// What a backend needs to know of one of a request's sequences. Points into options and prompt.
SamplerSpec sampler_spec(const RequestOptions& options, const std::vector<uint32_t>& prompt,
                         uint32_t sequence);

}  // namespace hearth
