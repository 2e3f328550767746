// Which steps are recorded, and which of them a step is padded to. Host code without CUDA.
//
// DESIGN
//   Key      The number of sequences, each with one token, and the chunks of their contexts at
//            most, both rounded up: they decide every address in step memory, and every grid.
//            Attention of short contexts must not launch the CTAs of long ones: that costs 2 us a
//            layer.
//   Chunks   1, then so many times more, until attention fills the device; then as many as one
//            launch of attention may have of that many sequences.
//   Most     kMostRecorded keys. Every number of sequences has one: where there are too many keys,
//            chunks grow in larger steps.
#pragma once

#include <compare>
#include <cstddef>
#include <vector>

#include "attention_plan.h"

namespace hearth::cuda {

inline constexpr size_t kMostRecorded = 32;

struct RecordKey {
  int32_t num_sequences;
  int32_t max_chunks;  // of a context

  auto operator<=>(const RecordKey&) const = default;
};
inline constexpr RecordKey kUnrecorded{0, 0};

class RecordedSteps {
 public:
  RecordedSteps() = default;
  /// max_items: of a launch of attention. full_grid: CTAs of attention that fill the device.
  RecordedSteps(const StepSizes& sizes, int32_t max_items, int32_t full_grid);

  /// By sequences, then chunks.
  const std::vector<RecordKey>& keys() const { return keys_; }
  /// What the step is padded to; kUnrecorded where it is of another kind, or too large.
  RecordKey find(const StepInput& input) const;

 private:
  std::vector<RecordKey> keys_;
};

}  // namespace hearth::cuda
