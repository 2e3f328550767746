#include "random_weights.h"

#include <cmath>
#include <cstring>
#include <random>

#include "../half.h"

namespace hearth {
namespace {

constexpr int kGroup = 32;

/// Of an array that is not aligned.
template <class T>
void put(std::byte* to, size_t index, T value) {
  std::memcpy(to + index * sizeof(T), &value, sizeof value);
}

}  // namespace

void random_rows(SourceFormat format, int32_t cols, int32_t num_rows, uint64_t seed,
                 std::byte* to) {
  std::mt19937_64 random(seed);
  const float largest = std::sqrt(3.0f / float(cols));
  if (is_quantized(format)) {
    // Every bit pattern is a quant; the scale makes them span [-largest, largest].
    const size_t group_bytes = row_bytes(format, kGroup);
    const float span = format == SourceFormat::kQ8_0   ? 128
                       : format == SourceFormat::kQ4_0 ? 8
                                                       : 7.5f;
    for (size_t group = 0; group < size_t(num_rows) * cols / kGroup; ++group) {
      std::byte* const begin = to + group * group_bytes;
      for (size_t i = 0; i < group_bytes; ++i) begin[i] = std::byte(random() & 0xff);
      put(begin, 0, half_from_float(largest / span));
      if (format == SourceFormat::kQ4_1) put(begin, 1, half_from_float(-largest));
    }
    return;
  }
  for (size_t i = 0; i < size_t(num_rows) * cols; ++i) {
    const float value = (float(random() >> 40) * 0x1p-23f - 1) * largest;
    switch (format) {
      case SourceFormat::kF32: put(to, i, value); break;
      case SourceFormat::kF16: put(to, i, half_from_float(value)); break;
      default: put(to, i, bf16_from_float(value));
    }
  }
}

}  // namespace hearth
