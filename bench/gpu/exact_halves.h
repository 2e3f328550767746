// Values for checks: exact in fp16 and in bf16, and so spread that the order of their additions
// shows in the last bits.
#pragma once

#include <cmath>

#include "backend/half.h"
#include "bench.cuh"

namespace hearth::bench {

/// In (-1, 1): seven bits, shifted by 0 to 7.
inline float exact_half(uint32_t seed, uint64_t index) {
  const float value = std::floor(random_value(seed, index) * 127) / 128;
  const int shift = int((random_value(seed ^ 0x5bd1e995u, index) + 1) * 4);
  return value / float(1 << shift);
}

inline uint16_t half_bits(DType dtype, float value) {
  return dtype == DType::kBF16 ? bf16_from_float(value) : half_from_float(value);
}

inline float half_value(DType dtype, uint16_t bits) {
  return dtype == DType::kBF16 ? float_from_bf16(bits) : float_from_half(bits);
}

}  // namespace hearth::bench
