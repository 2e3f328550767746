#include "request_options.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "../error.h"

namespace hearth {

namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw Error(HEARTH_INVALID_ARGUMENT, "Cannot submit request: " + what);
}

void check(bool allowed, const char* field, const char* rule, double value) {
  if (!allowed) refuse(format("%s must be %s: current value is %g", field, rule, value));
}

void check_range(const char* field, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return;
  refuse(format("%s must be %lld to %lld: current value is %lld", field, (long long)low,
                (long long)high, (long long)value));
}

void check_token(const char* field, uint32_t token, uint32_t vocab_size) {
  if (token < vocab_size) return;
  refuse(format("%s must hold ids below %u, the size of the vocabulary: current value is %u", field,
                vocab_size, token));
}

/// Elements at an offset of the flat buffer.
template <class T>
std::vector<T> copy_array(const char* field, uint32_t offset, uint32_t count, const uint8_t* flat,
                          uint32_t flat_bytes) {
  if (count == 0) return {};
  if (offset % alignof(T) != 0) {
    refuse(format("%s_offset must be a multiple of %zu: current value is %u", field, alignof(T),
                  offset));
  }
  if (offset + uint64_t(count) * sizeof(T) > flat_bytes) {
    refuse(format("%s must lie in the flat buffer of %u bytes: current value is %u elements at %u",
                  field, flat_bytes, count, offset));
  }
  std::vector<T> values(count);
  std::memcpy(values.data(), flat + offset, values.size() * sizeof(T));
  return values;
}

void check_prompt(const uint32_t* tokens, uint32_t num_tokens, const hearth_request_options& values,
                  const RequestLimits& limits) {
  const int32_t room_for_output = values.max_tokens > 0 ? 1 : 0;
  if (num_tokens < 1) refuse("num_tokens must be >= 1: current value is 0");
  if (num_tokens > uint32_t(limits.max_model_len - room_for_output)) {
    refuse(format("num_tokens must be <= %d, since max_model_len is %d: current value is %u",
                  limits.max_model_len - room_for_output, limits.max_model_len, num_tokens));
  }
  for (uint32_t i = 0; i < num_tokens; ++i) check_token("tokens", tokens[i], limits.vocab_size);
}

void check_values(const hearth_request_options& values, const RequestLimits& limits) {
  check_range("num_sequences", values.num_sequences, 1, kMaxSequences);
  if (values.num_sequences > uint32_t(limits.max_num_seqs)) {
    refuse(format("num_sequences must be <= max_num_seqs, which is %d: current value is %u",
                  limits.max_num_seqs, values.num_sequences));
  }
  check_range("logprobs", values.logprobs, -1, kMaxLogprobs);
  check_range("prompt_logprobs", values.prompt_logprobs, -1, kMaxLogprobs);
  if (values.max_tokens == 0 && values.prompt_logprobs < 0) {
    refuse("max_tokens must be >= 1: current value is 0");
  }
  if (values.min_tokens > values.max_tokens) {
    refuse(format("min_tokens must be <= max_tokens, which is %u: current value is %u",
                  values.max_tokens, values.min_tokens));
  }
  const auto is_in = [](float value, float low, float high) {
    return value >= low && value <= high;
  };
  check(is_in(values.temperature, 0, 2), "temperature", "0 to 2", values.temperature);
  check(values.top_p > 0 && values.top_p <= 1, "top_p", "above 0 and at most 1", values.top_p);
  check(is_in(values.min_p, 0, 1), "min_p", "0 to 1", values.min_p);
  check(values.repetition_penalty > 0 && std::isfinite(values.repetition_penalty),
        "repetition_penalty", "above 0 and finite", values.repetition_penalty);
  check(is_in(values.presence_penalty, -2, 2), "presence_penalty", "-2 to 2",
        values.presence_penalty);
  check(is_in(values.frequency_penalty, -2, 2), "frequency_penalty", "-2 to 2",
        values.frequency_penalty);
  check_range("priority", values.priority, -1000, 1000);
  check_range("has_seed", values.has_seed, 0, 1);
  check_range("reserved", values.reserved, 0, 0);
}

void check_bad_words(const std::vector<uint32_t>& bad_words, uint32_t vocab_size) {
  for (size_t i = 0; i < bad_words.size();) {
    const uint32_t length = bad_words[i++];
    if (length < 1 || length > bad_words.size() - i) {
      refuse(format("bad_words must hold words of 1 to %zu ids here: current value is %u",
                    bad_words.size() - i, length));
    }
    for (const size_t end = i + length; i < end; ++i) {
      check_token("bad_words", bad_words[i], vocab_size);
    }
  }
}

}  // namespace

bool RequestOptions::is_stop(uint32_t token) const {
  return std::find(stop_ids.begin(), stop_ids.end(), token) != stop_ids.end();
}

RequestOptions parse_request(const uint32_t* tokens, uint32_t num_tokens,
                             const hearth_request_options& values, const uint8_t* flat,
                             const RequestLimits& limits) {
  check_values(values, limits);
  check_prompt(tokens, num_tokens, values, limits);

  RequestOptions options{values, {}, {}, {}};
  options.stop_ids = copy_array<uint32_t>("stop_ids", values.stop_ids_offset, values.stop_ids_count,
                                          flat, values.flat_bytes);
  options.logit_bias = copy_array<hearth_logit_bias>(
      "logit_bias", values.logit_bias_offset, values.logit_bias_count, flat, values.flat_bytes);
  options.bad_words = copy_array<uint32_t>("bad_words", values.bad_words_offset,
                                           values.bad_words_count, flat, values.flat_bytes);
  for (uint32_t token : options.stop_ids) check_token("stop_ids", token, limits.vocab_size);
  for (const auto& [token, bias] : options.logit_bias) {
    check_token("logit_bias", token, limits.vocab_size);
    check(bias >= -100 && bias <= 100, "logit_bias", "-100 to 100", bias);
  }
  check_bad_words(options.bad_words, limits.vocab_size);
  return options;
}

SamplerSpec sampler_spec(const RequestOptions& options, const std::vector<uint32_t>& prompt,
                         uint32_t sequence) {
  const hearth_request_options& values = options.values;
  SamplerSpec spec;
  spec.temperature = values.temperature;
  spec.top_p = values.top_p;
  spec.min_p = values.min_p;
  spec.top_k = values.top_k;
  spec.repetition_penalty = values.repetition_penalty;
  spec.presence_penalty = values.presence_penalty;
  spec.frequency_penalty = values.frequency_penalty;
  spec.min_tokens = values.min_tokens;
  spec.seed = values.seed;
  spec.sequence = sequence;
  spec.stop_ids = options.stop_ids;
  spec.logit_bias = options.logit_bias;
  spec.bad_words = options.bad_words;
  spec.prompt = prompt;
  return spec;
}

}  // namespace hearth
