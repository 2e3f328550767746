// A step over ragged sequences in device memory, planned and packed as CudaOps does it.
#pragma once

#include <climits>
#include <span>
#include <vector>

#include "backend/cuda/step_buffer.h"
#include "device_memory.h"

namespace hearth::gpu_tests {

/// A sequence of a step: the last `queries` tokens of a context.
struct Sequence {
  int32_t context, queries;
};

/// A step's sequences, and the blocks that their contexts have: each at random, a block of one.
struct Batch {
  Batch(std::span<const Sequence> sequences, int32_t block_tokens, uint32_t seed);

  /// Of the vectors here, and valid as long as they are.
  StepInput input() const;
  int32_t num_tokens() const { return int32_t(positions.size()); }
  int32_t block(size_t sequence, int32_t index) const {
    return block_table[sequence * max_blocks + index];
  }

  int32_t block_tokens;
  int32_t num_blocks = 0;  // of the cache: three that no sequence has
  int32_t max_blocks = 0;  // of a sequence
  std::vector<int32_t> token_ids, positions, kv_slots, query_start = {0}, context_len, block_table;
};

/// A batch in device memory. max_items: of a launch of attention_decode().
class DeviceStep {
 public:
  DeviceStep(Device& device, const Batch& batch, int32_t max_items = INT_MAX);

  cuda::AttentionPlan plan;
  cuda::StepView view;

 private:
  Memory memory_;
};

}  // namespace hearth::gpu_tests
