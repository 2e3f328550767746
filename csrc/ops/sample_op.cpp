// Sampling.
#include <span>

#include "op_device.h"

using namespace hearth;

static_assert(sizeof(hearth_op_sampler) == 88);
static_assert(sizeof(hearth_op_sample_row) == 24);

namespace {

/// An array of the flat buffer.
template <class Element>
std::span<const Element> flat_span(const uint8_t* flat, uint32_t flat_bytes, uint32_t offset,
                                   uint32_t count) {
  if (count == 0) return {};
  require_within("offset", int64_t(offset) % alignof(Element), 0, 0);
  require_within("offset", int64_t(offset) + int64_t(count) * sizeof(Element), 0, flat_bytes);
  return {reinterpret_cast<const Element*>(flat + offset), count};
}

SamplerSpec sampler_spec(const hearth_op_sampler& from, const uint8_t* flat, uint32_t flat_bytes) {
  require_size(&from, "samplers");
  SamplerSpec spec;
  spec.temperature = from.temperature;
  spec.top_p = from.top_p;
  spec.min_p = from.min_p;
  spec.top_k = from.top_k;
  spec.repetition_penalty = from.repetition_penalty;
  spec.presence_penalty = from.presence_penalty;
  spec.frequency_penalty = from.frequency_penalty;
  spec.min_tokens = from.min_tokens;
  spec.sequence = from.sequence;
  spec.seed = from.seed;
  auto ids = [&](uint32_t offset, uint32_t count) {
    return flat_span<uint32_t>(flat, flat_bytes, offset, count);
  };
  spec.stop_ids = ids(from.stop_ids_offset, from.stop_ids_count);
  spec.logit_bias =
      flat_span<hearth_logit_bias>(flat, flat_bytes, from.logit_bias_offset, from.logit_bias_count);
  spec.bad_words = ids(from.bad_words_offset, from.bad_words_count);
  for (size_t i = 0; i < spec.bad_words.size(); i += spec.bad_words[i] + 1) {
    require_within("bad_words", spec.bad_words[i], 1, int64_t(spec.bad_words.size() - i) - 1);
  }
  spec.prompt = ids(from.prompt_offset, from.prompt_count);
  spec.output = ids(from.output_offset, from.output_count);
  return spec;
}

}  // namespace

extern "C" {

hearth_status hearth_op_sample(hearth_op_context* context, const float* logits,
                               uint32_t num_logits_rows, uint32_t vocab_size,
                               const hearth_op_sampler* samplers, uint32_t num_samplers,
                               const hearth_op_sample_row* rows, uint32_t num_rows,
                               const uint8_t* flat, uint32_t flat_bytes,
                               hearth_token_logprob* results, hearth_token_logprob* top,
                               hearth_error* error) {
  return guarded(error, [&] {
    require_size(context, "context");
    require_within("num_logits_rows", num_logits_rows, 1, kMaxOpSize);
    require_within("vocab_size", vocab_size, 1, kMaxOpSize);
    OpDevice device(*context);
    std::vector<SampleRow> samples;
    for (uint32_t i = 0; i < num_rows; ++i) {
      const hearth_op_sample_row& row = rows[i];
      require_size(&row, "rows");
      require_within("logits_row", row.logits_row, i > 0 ? rows[i - 1].logits_row : 0,
                     int64_t(num_logits_rows) - 1);
      require_within("target", row.target, -1, int64_t(vocab_size) - 1);
      require_within("num_logprobs", row.num_logprobs, -1, HEARTH_MAX_LOGPROBS);
      if (row.target < 0) require_within("sampler", row.sampler, 0, int64_t(num_samplers) - 1);
      samples.push_back({int32_t(row.logits_row), row.target < 0 ? int32_t(row.sampler) : -1,
                         row.target, int32_t(row.output_index), row.num_logprobs});
    }
    std::vector<SamplerSpec> specs;
    StepSizes sizes;
    sizes.sequences = int32_t(num_samplers);
    sizes.logits_rows = int32_t(num_logits_rows);
    sizes.sample_rows = int32_t(num_rows);
    sizes.vocab_size = int32_t(vocab_size);
    for (uint32_t i = 0; i < num_samplers; ++i) {
      specs.push_back(sampler_spec(samplers[i], flat, flat_bytes));
      specs.back().max_output =
          samplers[i].output_count + num_rows * std::max<uint32_t>(context->repeats, 1);
      sizes.max_context =
          std::max(sizes.max_context, int32_t(samplers[i].prompt_count + specs.back().max_output));
    }
    sizes.max_output = sizes.max_context;
    device.ops().reserve(sizes);
    std::vector<int32_t> bound(num_samplers);
    for (uint32_t i = 0; i < num_samplers; ++i) bound[i] = device.backend.samplers->bind(specs[i]);
    for (SampleRow& sample : samples) {
      if (sample.sampler >= 0) sample.sampler = bound[sample.sampler];
    }
    const Tensor values = device.tensor(num_logits_rows, vocab_size, logits);
    std::vector<int32_t> tokens(num_logits_rows, 0);

    StepInput input;
    input.logits_tokens = tokens;
    input.samples = samples;
    const std::vector<SampleResult> drawn =
        run_steps(*context, device.ops(), input, {}, {}, [&] {
          device.ops().sample(values, 0, int32_t(num_logits_rows));
        }).samples;
    for (size_t i = 0; i < drawn.size(); ++i) {
      if (drawn[i].not_finite) {
        throw Error(HEARTH_INTERNAL, format("Cannot sample: the logits of row %d must be finite",
                                            samples[i].logits_row));
      }
      results[i] = {drawn[i].token, drawn[i].logprob};
      std::copy(drawn[i].top.begin(), drawn[i].top.end(), top + i * HEARTH_MAX_LOGPROBS);
    }
  });
}

}  // extern "C"
