// Attention over blocks of KV on the device: what a launch is told, and the kernels to choose from.
// Numerics: docs/decisions/0007-cuda-numerics.md; the order inside a cell: layout.h.
#pragma once

#include "device.h"
#include "layout.h"
#include "step_view.h"

namespace hearth::cuda {

/// A kernel's argument, by value.
struct AttentionArgs {
  StepView step;
  KvCache kv;
  AttentionSpec spec;
  const float* q = nullptr;  // [T, num_heads * head_dim]
  /// float[T, num_heads * head_dim], or an operand of KV's 16-bit type, columns padded with zeros.
  void* out = nullptr;
  bool out_is_operand = false;
  /// Partial results of decodes, by item and head: O [head_dim], then 16 bytes of state. And how
  /// many chunks of (sequence, head) are stored there, by the first head of a piece: zero before
  /// and after every launch, int32[num_sequences, num_heads].
  float* partials = nullptr;
  int32_t* arrivals = nullptr;
};

/// Floats of a partial.
constexpr int32_t partial_floats(int32_t head_dim) { return head_dim + 4; }
/// Floats of args.partials for max_decodes items.
constexpr size_t partials_floats(int32_t max_decodes, int32_t num_heads, int32_t head_dim) {
  return size_t(max_decodes) * num_heads * partial_floats(head_dim);
}

/// Sequences with one query, by the plan's decodes. 16-bit KV in core matrices.
void attention_decode(Stream& stream, const AttentionArgs& args);
/// Sequences with several queries, by the plan's prefills: mma.sync (8.0 and up), or wgmma (9.0).
/// 16-bit KV in core matrices.
void attention_prefill_sm80(Stream& stream, const AttentionArgs& args);
void attention_prefill_sm90(Stream& stream, const AttentionArgs& args);
/// All of a step's queries, fp32 arithmetic, any KV and device: one order per row.
void attention_exact(Stream& stream, const AttentionArgs& args);

}  // namespace hearth::cuda
