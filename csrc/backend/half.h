// 16-bit floats without instructions for them. Internal linkage on purpose: files compiled for
// different instruction sets include this, and none may hand its version to another.
#pragma once

#include <cstdint>
#include <cstring>

namespace hearth {

static inline float float_from_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

static inline float float_from_bf16(uint16_t value) {
  return float_from_bits(uint32_t(value) << 16);
}

/// Nearest, ties to even; a NaN stays one.
static inline uint16_t bf16_from_float(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7fffffff) > 0x7f800000) return uint16_t(bits >> 16 | 0x40);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/// IEEE half to float, exact; infinities and NaN included.
static inline float float_from_half(uint16_t half) {
  const uint32_t sign = uint32_t(half & 0x8000) << 16;
  const uint32_t magnitude = half & 0x7fff;
  if (magnitude >= 0x7c00) return float_from_bits(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
  // Shifted into place the exponent is 112 too small: a multiplication puts it right, and
  // normalizes subnormals on the way.
  const float scaled = float_from_bits(magnitude << 13) * 0x1p112f;
  return sign ? -scaled : scaled;
}

/// Nearest, ties to even, as the instruction rounds; too large becomes infinity.
static inline uint16_t half_from_float(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const uint16_t sign = uint16_t(bits >> 16 & 0x8000);
  bits &= 0x7fffffff;
  if (bits > 0x7f800000) return uint16_t(sign | 0x7e00);   // NaN
  if (bits >= 0x477ff000) return uint16_t(sign | 0x7c00);  // rounds to 65536
  if (bits < 0x38800000) {
    // Subnormal half: adding 0.5 lines the last bit of a float up with 2^-24.
    const float shifted = float_from_bits(bits) + 0.5f;
    std::memcpy(&bits, &shifted, sizeof bits);
    return uint16_t(sign | (bits - 0x3f000000));
  }
  return uint16_t(sign | ((bits + 0xc8000fff + (bits >> 13 & 1)) >> 13));
}

}  // namespace hearth
