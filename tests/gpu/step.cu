#include "step.h"

#include <algorithm>
#include <numeric>
#include <random>

namespace hearth::gpu_tests {

Batch::Batch(std::span<const Sequence> sequences, int32_t block_tokens, uint32_t seed)
    : block_tokens(block_tokens) {
  const auto blocks_of = [&](const Sequence& s) {
    return (s.context + block_tokens - 1) / block_tokens;
  };
  for (const Sequence& s : sequences) {
    max_blocks = std::max(max_blocks, blocks_of(s));
    num_blocks += blocks_of(s);
  }
  num_blocks += 3;
  std::vector<int32_t> free(num_blocks);
  std::iota(free.begin(), free.end(), 0);
  std::shuffle(free.begin(), free.end(), std::mt19937(seed));

  block_table.assign(sequences.size() * max_blocks, -1);
  auto next = free.begin();
  for (size_t s = 0; s < sequences.size(); ++s) {
    const auto [context, queries] = sequences[s];
    for (int32_t i = 0; i < blocks_of(sequences[s]); ++i) block_table[s * max_blocks + i] = *next++;
    for (int32_t position = context - queries; position < context; ++position) {
      positions.push_back(position);
      kv_slots.push_back(block(s, position / block_tokens) * block_tokens +
                         position % block_tokens);
    }
    query_start.push_back(query_start.back() + queries);
    context_len.push_back(context);
  }
  token_ids.assign(positions.size(), 0);
}

StepInput Batch::input() const {
  StepInput input;
  input.token_ids = token_ids;
  input.positions = positions;
  input.kv_slots = kv_slots;
  input.query_start = query_start;
  input.context_len = context_len;
  input.block_table = block_table;
  input.max_blocks = max_blocks;
  return input;
}

DeviceStep::DeviceStep(Device& device, const Batch& batch, int32_t max_items) {
  const StepInput input = batch.input();
  plan.make(input, max_items);
  const cuda::StepLayout layout = cuda::layout_of(input, plan, batch.block_tokens);
  std::vector<std::byte> packed(layout.place(nullptr, view));
  cuda::pack_step(input, plan, {}, batch.block_tokens, layout, packed.data());
  memory_ = upload(device, packed);
  layout.place(memory_.data(), view);
}

}  // namespace hearth::gpu_tests
