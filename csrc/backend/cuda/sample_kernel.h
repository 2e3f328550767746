// What the sampling kernel reads and writes. Plain structs, for both sides.
#pragma once

#include <cstdint>

#include "device.h"
#include "step_view.h"

namespace hearth::cuda {

inline constexpr int kMaxLogprobs = HEARTH_MAX_LOGPROBS;
inline constexpr int32_t kMaxVocab = 1 << 19;  // sums of weights fit into 64 bits

/// What a sample row made.
struct DeviceSample {
  uint32_t token;
  float logprob;  // NaN when not asked for
  uint32_t num_top;
  uint32_t not_finite;
  hearth_token_logprob top[kMaxLogprobs];
};

/// What a sampler does to the logit of a token; one for each token.
struct TokenEdit {
  uint32_t token;
  float bias;            // -infinity bans
  uint32_t is_stop : 1;  // banned before min_tokens
  uint32_t seen : 31;    // 0: never; 1: in the prompt only; 1 + how often it was drawn
  float raw;             // the logit before, while a row is edited
};

/// Bans `token` where the last output is ids[first, + length) of the sampler's history.
struct BadWord {
  uint32_t token;
  uint32_t length;
  uint32_t first;
};

/// What a sampler has drawn, in one piece of memory: this, uint32_t recent[num_recent] (output i in
/// i % num_recent), BadWord words[num_words], uint32_t ids[].
struct SamplerHistory {
  uint32_t num_edits;
  uint32_t num_output;  // counted only with num_recent > 0
};

/// See SamplerSpec. Written by the host alone.
struct SamplerSlot {
  uint64_t seed;
  uint32_t sequence;
  float temperature;
  float top_p;
  float min_p;
  uint32_t top_k;
  float repetition_penalty;
  float presence_penalty;
  float frequency_penalty;
  uint32_t min_tokens;
  uint32_t edited_until;      // output index from which logits are drawn from as they are
  uint32_t remembers_tokens;  // for the penalties
  uint32_t num_recent;        // outputs that bad words look at
  uint32_t num_words;
  SamplerHistory* history;  // null where edited_until is 0, and so is edits
  TokenEdit* edits;         // room for one more than num_edits where it remembers
};

struct SampleArgs {
  StepView step;
  float* logits;
  int32_t vocab;
  int32_t first_row;
  const SamplerSlot* slots;
  DeviceSample* results;
};

/// See CudaSamplers::sample().
void launch_sample(Stream& stream, const SampleArgs& args, int32_t num_rows);

}  // namespace hearth::cuda
