// The 16-bit inputs of linear ops (layout.h), made and read on the host.
#pragma once

#include <vector>

#include "backend/cuda/layout.h"
#include "inputs.h"

namespace hearth::gpu_tests {

/// An operand of value(row, col). Its padding rows hold NaN, its padding columns zeros.
template <class Value>
std::vector<uint16_t> make_operand(DType half, int32_t rows, int32_t cols, const Value& value) {
  std::vector<uint16_t> operand(cuda::operand_bytes(rows, cols) / 2, 0xffff);
  const int32_t padded_rows = cuda::round_up(rows, 8);
  for (int32_t row = 0; row < padded_rows; ++row) {
    for (int32_t col = 0; col < cuda::round_up(cols, cuda::kSlabCols); ++col) {
      uint16_t& element = operand[cuda::operand_element(row, col, padded_rows)];
      if (col >= cols) {
        element = 0;
      } else if (row < rows) {
        element = half_bits(half, value(row, col));
      }
    }
  }
  return operand;
}

/// An operand's values, [rows, cols]. A row whose padding columns are not 0 is NaN instead.
inline std::vector<float> read_operand(DType half, const std::vector<uint16_t>& operand,
                                       int32_t rows, int32_t cols) {
  std::vector<float> values(size_t(rows) * cols);
  const auto element = [&](int32_t row, int32_t col) {
    return half_value(half, operand[cuda::operand_element(row, col, cuda::round_up(rows, 8))]);
  };
  for (int32_t row = 0; row < rows; ++row) {
    float* const to = values.data() + size_t(row) * cols;
    for (int32_t col = 0; col < cols; ++col) to[col] = element(row, col);
    for (int32_t col = cols; col < cuda::round_up(cols, cuda::kSlabCols); ++col) {
      if (!(element(row, col) == 0)) std::fill_n(to, cols, NAN);
    }
  }
  return values;
}

}  // namespace hearth::gpu_tests
