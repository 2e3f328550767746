// A step's input as one piece of memory: packed by the host, copied in one transfer, addressed by a
// StepView. No CUDA in here.
#pragma once

#include <cstddef>

#include "attention_plan.h"
#include "step_view.h"

namespace hearth::cuda {

/// How many of each thing a step holds, padding included: what decides every offset.
struct StepLayout {
  int32_t num_tokens = 0;
  int32_t num_sequences = 0;
  int32_t max_blocks = 0;
  int32_t num_logits = 0;
  int32_t max_decodes = 0;
  int32_t num_prefills = 0;
  int32_t num_samples = 0;
  int32_t num_groups = 0;
  int32_t rope_half = 0;

  /// Points view's arrays into memory that begins at base (null: offsets), and returns the bytes
  /// that takes.
  size_t place(const std::byte* base, StepView& view) const;
  /// inv_freq[rope_half] lies at the end.
  const float* inv_freq(const std::byte* base) const;
};

/// Rows of samples that one CTA draws in turn: runs of the same sampler.
std::vector<SampleGroup> group_samples(std::span<const SampleRow> samples);

/// Writes a step into host memory of layout.place() bytes; what the layout has beyond the input is
/// padding.
void pack_step(const StepInput& input, const AttentionPlan& plan,
               const std::vector<SampleGroup>& groups, const RopeView& rope,
               const StepLayout& layout, std::byte* to);

}  // namespace hearth::cuda
