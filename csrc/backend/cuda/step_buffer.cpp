#include "step_buffer.h"

#include <algorithm>
#include <cstring>

namespace hearth::cuda {
namespace {

constexpr size_t kAlignment = 16;

/// Lays arrays out behind one another.
class Layouter {
 public:
  explicit Layouter(const std::byte* base) : base_(base) {}

  template <class T>
  const T* array(int32_t count) {
    const std::byte* at = base_ + bytes_;
    bytes_ += (size_t(count) * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
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

}  // namespace

size_t StepLayout::place(const std::byte* base, StepView& view) const {
  Layouter layouter(base);
  view.num_tokens = num_tokens;
  view.num_sequences = num_sequences;
  view.max_blocks = max_blocks;
  view.max_decodes = max_decodes;
  view.num_prefills = num_prefills;
  view.num_samples = num_samples;
  view.num_groups = num_groups;
  view.token_ids = layouter.array<int32_t>(num_tokens);
  view.positions = layouter.array<int32_t>(num_tokens);
  view.kv_slots = layouter.array<int32_t>(num_tokens);
  view.query_start = layouter.array<int32_t>(num_sequences + 1);
  view.context_len = layouter.array<int32_t>(num_sequences);
  view.block_table = layouter.array<int32_t>(num_sequences * max_blocks);
  view.logits_tokens = layouter.array<int32_t>(num_logits);
  view.num_decodes = layouter.array<int32_t>(1);
  view.decodes = layouter.array<DecodeItem>(max_decodes);
  view.prefills = layouter.array<PrefillItem>(num_prefills);
  view.samples = layouter.array<SampleRow>(num_samples);
  view.groups = layouter.array<SampleGroup>(num_groups);
  layouter.array<float>(rope_half);
  return layouter.bytes();
}

const float* StepLayout::inv_freq(const std::byte* base) const {
  StepView view;
  place(base, view);
  const size_t bytes =
      (size_t(num_groups) * sizeof(SampleGroup) + kAlignment - 1) / kAlignment * kAlignment;
  return reinterpret_cast<const float*>(reinterpret_cast<const std::byte*>(view.groups) + bytes);
}

std::vector<SampleGroup> group_samples(std::span<const SampleRow> samples) {
  std::vector<SampleGroup> groups;
  for (int32_t i = 0; i < int32_t(samples.size()); ++i) {
    const bool same =
        i > 0 && samples[i].sampler >= 0 && samples[i].sampler == samples[i - 1].sampler;
    if (same) {
      ++groups.back().count;
    } else {
      groups.push_back({i, 1});
    }
  }
  return groups;
}

void pack_step(const StepInput& input, const AttentionPlan& plan,
               const std::vector<SampleGroup>& groups, const RopeView& rope,
               const StepLayout& layout, std::byte* to) {
  StepView view;
  layout.place(to, view);
  fill(view.token_ids, input.token_ids, layout.num_tokens, 0);
  fill(view.positions, input.positions, layout.num_tokens, 0);
  fill(view.kv_slots, input.kv_slots, layout.num_tokens, -1);
  // A padding sequence owns a padding token.
  fill(view.query_start, input.query_start, layout.num_sequences + 1, 0);
  for (size_t s = input.query_start.size(); s <= size_t(layout.num_sequences); ++s) {
    writable(view.query_start)[s] = s == 0 ? 0 : view.query_start[s - 1] + 1;
  }
  fill(view.context_len, input.context_len, layout.num_sequences, 0);
  for (int32_t s = 0; s < layout.num_sequences; ++s) {
    int32_t* row = writable(view.block_table) + size_t(s) * layout.max_blocks;
    int32_t* end = row;
    if (s < input.num_sequences()) {
      end = std::copy_n(input.block_table.begin() + size_t(s) * input.max_blocks, input.max_blocks,
                        row);
    }
    std::fill(end, row + layout.max_blocks, -1);
  }
  fill(view.logits_tokens, input.logits_tokens, layout.num_logits, 0);
  *writable(view.num_decodes) = int32_t(plan.decodes.size());
  fill(view.decodes, plan.decodes, layout.max_decodes, DecodeItem{0, 0});
  fill(view.prefills, plan.prefills, layout.num_prefills, PrefillItem{});
  fill(view.samples, input.samples, layout.num_samples, SampleRow{0, -1, -1, 0, -1});
  fill(view.groups, groups, layout.num_groups, SampleGroup{0, 0});
  fill(layout.inv_freq(to), rope.inv_freq, layout.rope_half, 0.f);
}

}  // namespace hearth::cuda
