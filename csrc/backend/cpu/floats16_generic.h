// Sixteen floats as one value, in plain C++. The kernels over it (attention_kernel.h,
// sample_kernel.h) are written once; each instruction path has a file like this one. Internal
// linkage on purpose, as in half.h.
#pragma once

#include <cstdint>
#include <cstring>

#include "../half.h"

namespace hearth {
namespace {

struct Floats16 {
  float lane[16];
};

// Rows times columns of 16 that a product keeps in registers: kMaxRows rows of one column at the
// most, kColumns[rows] columns. Here a product of a column is half of SSE's 16 registers.
constexpr int kMaxRows = 2;
constexpr int kColumns[kMaxRows + 1] = {0, 1, 1};

inline Floats16 broadcast(float value) {
  Floats16 out;
  for (float& lane : out.lane) lane = value;
  return out;
}

inline Floats16 zeros() { return broadcast(0); }

inline Floats16 load(const float* from) {
  Floats16 out;
  std::memcpy(out.lane, from, sizeof out.lane);
  return out;
}

inline Floats16 load(const uint16_t* halves) {
  Floats16 out;
  for (int i = 0; i < 16; ++i) out.lane[i] = float_from_half(halves[i]);
  return out;
}

inline void store(float* to, const Floats16& a) { std::memcpy(to, a.lane, sizeof a.lane); }

inline Floats16 add(Floats16 a, const Floats16& b) {
  for (int i = 0; i < 16; ++i) a.lane[i] += b.lane[i];
  return a;
}

inline Floats16 subtract(Floats16 a, const Floats16& b) {
  for (int i = 0; i < 16; ++i) a.lane[i] -= b.lane[i];
  return a;
}

inline Floats16 multiply(Floats16 a, const Floats16& b) {
  for (int i = 0; i < 16; ++i) a.lane[i] *= b.lane[i];
  return a;
}

/// a * b + c; one rounding where the instructions have it.
inline Floats16 multiply_add(const Floats16& a, const Floats16& b, Floats16 c) {
  for (int i = 0; i < 16; ++i) c.lane[i] += a.lane[i] * b.lane[i];
  return c;
}

/// NaN in b stays.
inline Floats16 lanes_maximum(Floats16 a, const Floats16& b) {
  for (int i = 0; i < 16; ++i) a.lane[i] = a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i];
  return a;
}

/// a where a >= b, else 0; NaN in a stays.
inline Floats16 zero_where_less(const Floats16& value, const Floats16& a, const Floats16& b) {
  Floats16 out;
  for (int i = 0; i < 16; ++i) out.lane[i] = a.lane[i] < b.lane[i] ? 0 : value.lane[i];
  return out;
}

/// value * 2^round(x), given x + 1.5 * 2^23: the integer sits in the low bits of that sum.
inline Floats16 scale_by_power(Floats16 value, const Floats16& shifted) {
  for (int i = 0; i < 16; ++i) {
    uint32_t bits, power;
    std::memcpy(&bits, &value.lane[i], sizeof bits);
    std::memcpy(&power, &shifted.lane[i], sizeof power);
    bits += power << 23;
    std::memcpy(&value.lane[i], &bits, sizeof bits);
  }
  return value;
}

/// In a fixed order: halves onto each other.
inline float sum_lanes(Floats16 a) {
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) a.lane[i] += a.lane[i + width];
  }
  return a.lane[0];
}

inline float max_lanes(Floats16 a) {
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) {
      a.lane[i] = a.lane[i] > a.lane[i + width] ? a.lane[i] : a.lane[i + width];
    }
  }
  return a.lane[0];
}

inline void store(uint16_t* halves, const Floats16& a) {
  for (int i = 0; i < 16; ++i) halves[i] = half_from_float(a.lane[i]);
}

}  // namespace
}  // namespace hearth
