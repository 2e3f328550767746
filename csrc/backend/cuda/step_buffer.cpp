#include "step_buffer.h"

#include <algorithm>

namespace hearth::cuda {
namespace {

constexpr size_t kAlignment = 16;

/// Lays arrays out behind one another.
class Layouter {
 public:
  explicit Layouter(const std::byte* base) : base_(base) {}

  template <class T>
  const T* array(size_t count) {
    const std::byte* at = base_ + bytes_;
    bytes_ += (count * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    return reinterpret_cast<const T*>(at);
  }
  size_t bytes() const { return bytes_; }

 private:
  const std::byte* base_;
  size_t bytes_ = 0;
};

template <class T>
T* writable(const T* array) {
  return const_cast<T*>(array);
}

/// Copies values and fills up to count with padding.
template <class T, class Values>
void fill(const T* to, const Values& values, int32_t count, const T& padding) {
  T* const end = std::copy(values.begin(), values.end(), writable(to));
  std::fill(end, writable(to) + count, padding);
}

int32_t blocks_of_context(int32_t context_len, int32_t block_tokens) {
  return (context_len + block_tokens - 1) / block_tokens;
}

/// Arrays in their order. inv_freq lies first: nothing that varies comes before it.
size_t lay_out(const StepLayout& layout, const std::byte* base, StepView& view,
               const float*& inv_freq) {
  Layouter layouter(base);
  inv_freq = layouter.array<float>(size_t(layout.rope_half));
  view.num_tokens = layout.num_tokens;
  view.num_sequences = layout.num_sequences;
  view.max_decodes = layout.max_decodes;
  view.num_prefills = layout.num_prefills;
  view.num_samples = layout.num_samples;
  view.token_ids = layouter.array<int32_t>(size_t(layout.num_tokens));
  view.positions = layouter.array<int32_t>(size_t(layout.num_tokens));
  view.kv_slots = layouter.array<int32_t>(size_t(layout.num_tokens));
  view.query_start = layouter.array<int32_t>(size_t(layout.num_sequences) + 1);
  view.context_len = layouter.array<int32_t>(size_t(layout.num_sequences));
  view.first_block = layouter.array<int32_t>(size_t(layout.num_sequences));
  view.logits_tokens = layouter.array<int32_t>(size_t(layout.num_logits));
  view.num_decodes = layouter.array<int32_t>(size_t(layout.num_batches));
  view.decodes = layouter.array<DecodeItem>(size_t(layout.max_decodes));
  view.prefills = layouter.array<PrefillItem>(size_t(layout.num_prefills));
  view.samples = layouter.array<SampleRow>(size_t(layout.num_samples));
  view.blocks = layouter.array<int32_t>(layout.num_blocks);
  return layouter.bytes();
}

}  // namespace

size_t StepLayout::place(const std::byte* base, StepView& view) const {
  const float* inv_freq = nullptr;
  return lay_out(*this, base, view, inv_freq);
}

StepLayout layout_of(const StepInput& input, const AttentionPlan& plan, int32_t block_tokens) {
  StepLayout layout;
  layout.num_tokens = input.num_tokens();
  layout.num_sequences = input.num_sequences();
  layout.num_logits = int32_t(input.logits_tokens.size());
  layout.num_samples = int32_t(input.samples.size());
  layout.num_batches = int32_t(plan.batches.size());
  layout.max_decodes = int32_t(plan.decodes.size());
  layout.num_prefills = int32_t(plan.prefills.size());
  for (const int32_t context : input.context_len) {
    layout.num_blocks += size_t(blocks_of_context(context, block_tokens));
  }
  return layout;
}

void pack_step(const StepInput& input, const AttentionPlan& plan, std::span<const RopeView> ropes,
               int32_t block_tokens, const StepLayout& layout, std::byte* to) {
  StepView view;
  const float* inv_freq = nullptr;
  lay_out(layout, to, view, inv_freq);
  float* frequency = writable(inv_freq);
  for (const RopeView& rope : ropes) {
    frequency = std::copy(rope.inv_freq.begin(), rope.inv_freq.end(), frequency);
  }
  fill(view.token_ids, input.token_ids, layout.num_tokens, 0);
  fill(view.positions, input.positions, layout.num_tokens, 0);
  fill(view.kv_slots, input.kv_slots, layout.num_tokens, -1);
  // A padding sequence owns a padding token.
  fill(view.query_start, input.query_start, layout.num_sequences + 1, 0);
  for (size_t s = input.query_start.size(); s <= size_t(layout.num_sequences); ++s) {
    writable(view.query_start)[s] = s == 0 ? 0 : view.query_start[s - 1] + 1;
  }
  fill(view.context_len, input.context_len, layout.num_sequences, 0);
  fill(view.first_block, std::span<const int32_t>(), layout.num_sequences, 0);
  int32_t* block = writable(view.blocks);
  for (int32_t s = 0; s < input.num_sequences(); ++s) {
    writable(view.first_block)[s] = int32_t(block - view.blocks);
    block = std::copy_n(input.block_table.begin() + size_t(s) * input.max_blocks,
                        blocks_of_context(input.context_len[s], block_tokens), block);
  }
  fill(view.logits_tokens, input.logits_tokens, layout.num_logits, 0);
  fill(view.num_decodes, plan.batches, layout.num_batches, 0);
  fill(view.decodes, plan.decodes, layout.max_decodes, DecodeItem{});
  for (size_t i = 0; i < plan.decodes.size(); ++i) {
    writable(view.decodes)[i].first_block = view.first_block[plan.decodes[i].sequence];
  }
  fill(view.prefills, plan.prefills, layout.num_prefills, PrefillItem{});
  fill(view.samples, input.samples, layout.num_samples, SampleRow{0, -1, -1, 0, -1});
}

}  // namespace hearth::cuda
