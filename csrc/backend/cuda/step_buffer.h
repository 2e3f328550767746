// A step's input as one piece of memory: packed by the host, copied in one transfer, addressed by a
// StepView. No CUDA in here.
#pragma once

#include <cstddef>
#include <span>

#include "attention_plan.h"
#include "step_view.h"

namespace hearth::cuda {

/// How many of each thing a step holds, padding included: what decides every offset. Blocks come
/// last, so that a recorded step has its offsets whatever their number.
struct StepLayout {
  int32_t num_tokens = 0;
  int32_t num_sequences = 0;
  int32_t num_logits = 0;
  int32_t num_samples = 0;
  int32_t num_batches = 0;  // of decodes
  int32_t max_decodes = 0;
  int32_t num_prefills = 0;
  int32_t rope_half = 0;  // frequencies of all RoPE tables
  size_t num_blocks = 0;

  /// Points view's arrays into memory that begins at base (null: offsets), and returns the bytes
  /// that takes.
  size_t place(const std::byte* base, StepView& view) const;
};

/// float inv_freq[rope_half], one table behind the other, is what a packed step begins with.
inline const float* packed_inv_freq(const std::byte* base) {
  return reinterpret_cast<const float*>(base);
}

/// What a step holds by itself: without padding and RoPE tables.
StepLayout layout_of(const StepInput& input, const AttentionPlan& plan, int32_t block_tokens);

/// Writes a step into host memory of layout.place() bytes; what the layout has beyond the input is
/// padding.
void pack_step(const StepInput& input, const AttentionPlan& plan, std::span<const RopeView> ropes,
               int32_t block_tokens, const StepLayout& layout, std::byte* to);

}  // namespace hearth::cuda
