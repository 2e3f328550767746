// Random inputs that host and device agree on, so that a reference needs no copy of them.
#pragma once

#include <cmath>
#include <cstdint>

#include "backend/dtype.h"
#include "backend/half.h"

#ifdef __CUDACC__
#define HEARTH_BOTH_SIDES __host__ __device__
#else
#define HEARTH_BOTH_SIDES
#endif

namespace hearth::gpu_tests {

/// One of 2048 values in [-1, 1), exact in fp16: the same wherever it is asked for.
HEARTH_BOTH_SIDES inline float random_value(uint32_t seed, uint64_t index) {
  uint32_t h =
      uint32_t(index) * 0x9e3779b9u ^ uint32_t(index >> 32) * 0x85ebca6bu ^ seed * 0xc2b2ae35u;
  h = (h ^ h >> 16) * 0x7feb352du;
  h = (h ^ h >> 15) * 0x846ca68bu;
  h ^= h >> 16;
  return float(int(h >> 21) - 1024) / 1024;
}

/// In (-1, 1), exact in fp16 and in bf16: seven bits, shifted by 0 to 7. They are so spread that
/// the order in which they are added shows in the last bits of a sum.
inline float exact_half(uint32_t seed, uint64_t index) {
  const float value = std::floor(random_value(seed, index) * 127) / 128;
  const int shift = int((random_value(seed ^ 0x5bd1e995u, index) + 1) * 4);
  return value / float(1 << shift);
}

/// half: kF16 or kBF16.
inline uint16_t half_bits(DType half, float value) {
  return half == DType::kBF16 ? bf16_from_float(value) : half_from_float(value);
}

inline float half_value(DType half, uint16_t bits) {
  return half == DType::kBF16 ? float_from_bf16(bits) : float_from_half(bits);
}

/// The 16-bit type that a weight's products are made in.
constexpr DType half_of(DType weight) {
  return weight == DType::kBF16 ? DType::kBF16 : DType::kF16;
}

}  // namespace hearth::gpu_tests
