#include "request_options.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "../error.h"

namespace hearth {

namespace {

constexpr char kDoing[] = "Cannot submit request";

void check(bool allowed, const char* field, const char* rule, double value) {
  if (!allowed) refuse(kDoing, field, rule, format("%g", value));
}

void check_range(const char* field, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return;
  refuse(kDoing, field, format("be %lld to %lld", (long long)low, (long long)high),
         std::to_string(value));
}

void check_token(const char* field, uint32_t token, uint32_t vocab_size) {
  if (token < vocab_size) return;
  refuse(kDoing, field, format("hold ids below %u, the size of the vocabulary", vocab_size),
         std::to_string(token));
}

/// what: the elements, in the plural.
void check_count(const char* field, size_t count, size_t most, const char* what) {
  if (count <= most) return;
  refuse(kDoing, field, format("hold at most %zu %s", most, what), std::to_string(count));
}

/// Elements at an offset of the flat buffer.
template <class T>
std::vector<T> copy_array(const char* field, uint32_t offset, uint32_t count, const uint8_t* flat,
                          uint32_t flat_bytes) {
  if (count == 0) return {};
  if (offset % alignof(T) != 0) {
    refuse(kDoing, std::string(field) + "_offset", format("be a multiple of %zu", alignof(T)),
           std::to_string(offset));
  }
  if (offset + uint64_t(count) * sizeof(T) > flat_bytes) {
    refuse(kDoing, field, format("lie in the flat buffer of %u bytes", flat_bytes),
           format("%u elements at %u", count, offset));
  }
  std::vector<T> values(count);
  std::memcpy(values.data(), flat + offset, values.size() * sizeof(T));
  return values;
}

void check_prompt(const uint32_t* tokens, uint32_t num_tokens, const hearth_request_options& values,
                  const RequestLimits& limits) {
  const int32_t room_for_output = values.max_tokens > 0 ? 1 : 0;
  if (num_tokens < 1) refuse(kDoing, "num_tokens", "be >= 1", "0");
  if (num_tokens > uint32_t(limits.max_model_len - room_for_output)) {
    refuse(kDoing, "num_tokens",
           format("be <= %d, since max_model_len is %d", limits.max_model_len - room_for_output,
                  limits.max_model_len),
           std::to_string(num_tokens));
  }
  for (uint32_t i = 0; i < num_tokens; ++i) check_token("tokens", tokens[i], limits.vocab_size);
}

void check_values(const hearth_request_options& values, const RequestLimits& limits) {
  check_range("num_sequences", values.num_sequences, 1, HEARTH_MAX_SEQUENCES);
  if (values.num_sequences > uint32_t(limits.max_num_seqs)) {
    refuse(kDoing, "num_sequences", format("be <= max_num_seqs, which is %d", limits.max_num_seqs),
           std::to_string(values.num_sequences));
  }
  check_range("logprobs", values.logprobs, -1, HEARTH_MAX_LOGPROBS);
  check_range("prompt_logprobs", values.prompt_logprobs, -1, HEARTH_MAX_LOGPROBS);
  if (values.max_tokens == 0 && values.prompt_logprobs < 0) {
    refuse(kDoing, "max_tokens", "be >= 1", "0");
  }
  if (values.min_tokens > values.max_tokens) {
    refuse(kDoing, "min_tokens", format("be <= max_tokens, which is %u", values.max_tokens),
           std::to_string(values.min_tokens));
  }
  const auto is_in = [](float value, float low, float high) {
    return value >= low && value <= high;
  };
  check(is_in(values.temperature, 0, 2), "temperature", "be 0 to 2", values.temperature);
  check(values.top_p > 0 && values.top_p <= 1, "top_p", "be above 0 and at most 1", values.top_p);
  check(is_in(values.min_p, 0, 1), "min_p", "be 0 to 1", values.min_p);
  check(values.repetition_penalty > 0 && std::isfinite(values.repetition_penalty),
        "repetition_penalty", "be above 0 and finite", values.repetition_penalty);
  check(is_in(values.presence_penalty, -2, 2), "presence_penalty", "be -2 to 2",
        values.presence_penalty);
  check(is_in(values.frequency_penalty, -2, 2), "frequency_penalty", "be -2 to 2",
        values.frequency_penalty);
  check_range("priority", values.priority, -1000, 1000);
  check_range("has_seed", values.has_seed, 0, 1);
  check_range("skip_reading_prefix_cache", values.skip_reading_prefix_cache, 0, 1);
  check_range("caller_weight", values.caller_weight, 0, HEARTH_MAX_CALLER_WEIGHT);
  check_range("reserved", values.reserved, 0, 0);
  // Before a list is copied.
  check_count("stop_ids", values.stop_ids_count, HEARTH_MAX_STOP_IDS, "ids");
  check_count("logit_bias", values.logit_bias_count, HEARTH_MAX_LOGIT_BIASES, "tokens");
  // A word has its length and at least one id.
  check_count("bad_words", values.bad_words_count, 2 * HEARTH_MAX_BAD_WORD_IDS, "elements");
}

void check_bad_words(const std::vector<uint32_t>& bad_words, uint32_t vocab_size) {
  size_t num_words = 0;
  for (size_t i = 0; i < bad_words.size(); ++num_words) {
    const uint32_t length = bad_words[i++];
    if (length < 1 || length > bad_words.size() - i) {
      refuse(kDoing, "bad_words", format("hold words of 1 to %zu ids here", bad_words.size() - i),
             std::to_string(length));
    }
    for (const size_t end = i + length; i < end; ++i) {
      check_token("bad_words", bad_words[i], vocab_size);
    }
  }
  check_count("bad_words", bad_words.size() - num_words, HEARTH_MAX_BAD_WORD_IDS, "ids");
}

}  // namespace

bool RequestOptions::is_stop(uint32_t token) const {
  return std::binary_search(stop_ids.begin(), stop_ids.end(), token);
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
  std::sort(options.stop_ids.begin(), options.stop_ids.end());
  for (const auto& [token, bias] : options.logit_bias) {
    check_token("logit_bias", token, limits.vocab_size);
    check(bias >= -100 && bias <= 100, "logit_bias", "be -100 to 100", bias);
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
