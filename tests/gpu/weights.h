// Random weights as they lie in a file, and on the device in pages.
#pragma once

#include <vector>

#include "backend/cuda/layout.h"
#include "backend/page_table.h"

namespace hearth::gpu_tests {

/// Rows of a weight as in a file, and the values that they stand for.
struct FileWeight {
  FileWeight(SourceFormat format, int32_t rows, int32_t cols, uint32_t seed);

  DType dtype() const { return layout.dtype; }
  int32_t rows() const { return layout.rows; }
  int32_t num_strips() const { return layout.num_tiles(); }

  WeightLayout layout;
  std::vector<std::byte> bytes;
  std::vector<double> values;  // [rows, cols]

 private:
  void make_floats(int32_t row, uint32_t seed);
  void make_quants(int32_t row, uint32_t seed);
};

/// Strips [first, first + count) as kernels read them, made on the host by strip_word().
std::vector<std::byte> pack_strips(const WeightLayout& layout, const std::vector<std::byte>& bytes,
                                   int32_t first, int32_t count);

/// A weight in pages: first_strips in the first one, behind bytes that are not its own, then
/// strips_per_page each. The pages lie shuffled, or evenly; what no strip fills is poisoned.
class PagedWeight {
 public:
  enum class Order { kShuffled, kEven };

  PagedWeight(Device& device, const FileWeight& weight, int32_t first_strips,
              int32_t strips_per_page, Order order, uint32_t seed);

  cuda::WeightRef ref;
  cuda::PageGuess guess;        // right, where there is one
  cuda::PageGuess wrong_guess;  // where there is only poison

 private:
  Memory pages_;
  PageTable table_;
};

}  // namespace hearth::gpu_tests
