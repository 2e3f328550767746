// Every byte that a step needs beside weights, KV and activations: counted and taken when a model
// is opened, so that no step allocates.
#pragma once

#include <array>

#include "../device.h"
#include "attention.h"
#include "sample_kernel.h"
#include "step_buffer.h"

namespace hearth::cuda {

class StepMemory {
 public:
  /// Steps whose input or results may be under way at a time.
  static constexpr uint64_t kSlots = 4;

  StepMemory() = default;
  /// exact: products are made in fp32. Throws Error(HEARTH_OUT_OF_MEMORY).
  StepMemory(Device& device, const StepSizes& sizes, bool exact);
  /// Device bytes that this takes.
  static size_t bytes(const StepSizes& sizes, bool exact);

  /// Decode items that one launch of attention may have: their partial results need memory, and a
  /// step with more of them is cut (attention_plan.h).
  static int32_t max_decode_items(const StepSizes& sizes);

  std::byte* input = nullptr;       // of a step, see step_buffer.h
  size_t input_bytes = 0;           // that there is room for
  float* angles = nullptr;          // of all RoPE tables: cos, then sin, [T, half] each
  int32_t* drawn = nullptr;         // [sample rows], kept for the step that follows
  DeviceSample* results = nullptr;  // [sample rows]
  std::byte* operand = nullptr;     // the normed input of a linear op, 16-bit
  float* floats = nullptr;          // the same in fp32
  float* unpacked = nullptr;        // an operand turned into floats
  float* k = nullptr;               // [T, num_kv_heads * head_dim] of one layer
  float* v = nullptr;
  float* partials = nullptr;    // of attention
  int32_t* arrivals = nullptr;  // [S, num_heads], 0 between launches
  /// Host memory of the steps in flight.
  std::array<std::byte*, kSlots> host_inputs = {};
  std::array<DeviceSample*, kSlots> host_results = {};

 private:
  struct Parts;

  Memory device_memory_, host_memory_;
};

}  // namespace hearth::cuda
