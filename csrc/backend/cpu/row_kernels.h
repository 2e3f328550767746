// Norms and activations of one row, as plain loops that the compiler vectorizes for the instruction
// set of the file that includes this: 2 to 4 % of a step's work.
//
// Everything is in an anonymous namespace: each instruction path compiles its own copy, and no copy
// can stand in for another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "../../hearth.h"
#include "kernels.h"

namespace hearth {
namespace {

constexpr int kLanes = 16;  // partial sums of a row: lane l takes the columns that are l modulo 16

inline float add_lanes(const float* lane) {
  float sum[kLanes];
  for (int i = 0; i < kLanes; ++i) sum[i] = lane[i];
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) sum[i] += sum[i + width];
  }
  return sum[0];
}

inline float sum_of(const float* x, int32_t size) {
  float lane[kLanes] = {};
  int32_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) lane[l] += x[i + l];
  }
  for (int l = 0; i < size; ++i, ++l) lane[l] += x[i];
  return add_lanes(lane);
}

inline float sum_of_squares(const float* x, int32_t size, float mean) {
  float lane[kLanes] = {};
  int32_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) lane[l] += (x[i + l] - mean) * (x[i + l] - mean);
  }
  for (int l = 0; i < size; ++i, ++l) lane[l] += (x[i] - mean) * (x[i] - mean);
  return add_lanes(lane);
}

void norm_row(const NormRow& norm, const float* x, float* out) {
  const float size = float(norm.size);
  const float mean = norm.kind == HEARTH_NORM_LAYER ? sum_of(x, norm.size) / size : 0.0f;
  const float variance = sum_of_squares(x, norm.size, mean) / size;
  const float scale = 1.0f / __builtin_sqrtf(variance + norm.eps);
  for (int32_t i = 0; i < norm.size; ++i) out[i] = (x[i] - mean) * scale * norm.weight[i];
  if (norm.bias == nullptr) return;
  for (int32_t i = 0; i < norm.size; ++i) out[i] += norm.bias[i];
}

// From the largest magnitude of a group to int8. A group so small that its inverse would overflow
// is all zeros.
inline float inverse_scale(float max) { return max > 1e-36f ? 127.0f / max : 0.0f; }

// In one instruction where there is one; a call of libm's would cost more than the kernel.
inline float multiply_add(float a, float b, float c) {
#if defined(__FMA__)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

// e^x within 1 unit in the last place; |x| is cut at 87, so that no exponent overflows. With
// x = n ln 2 + r, e^r = 1 + r + r² p(r) with p fitted at Chebyshev nodes over |r| <= ln 2 / 2
// (relative error 2.3e-10). Without a comparison of floats, which would keep the loops scalar.
inline float exp_fast(float x) {
  constexpr int32_t kLargest = 0x42ae0000;  // the bits of 87
  int32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  int32_t magnitude = bits & 0x7fffffff;
  magnitude = magnitude < kLargest ? magnitude : kLargest;
  bits = (bits & int32_t(0x80000000)) | magnitude;
  std::memcpy(&x, &bits, sizeof x);

  const float shifted = multiply_add(x, 1.44269504f, 12582912.0f);
  const float n = shifted - 12582912.0f;
  // ln 2 in two parts.
  const float r = multiply_add(n, 2.12194440e-4f, multiply_add(n, -0.693359375f, x));
  float p = 0.000198992871f;
  p = multiply_add(p, r, 0.00139336579f);
  p = multiply_add(p, r, 0.00833329838f);
  p = multiply_add(p, r, 0.0416664630f);
  p = multiply_add(p, r, 0.166666672f);
  p = multiply_add(p, r, 0.5f);
  const float fraction = 1.0f + multiply_add(r * r, p, r);
  int32_t exponent;
  std::memcpy(&exponent, &shifted, sizeof exponent);
  const int32_t power_bits = (exponent - 0x4b400000 + 127) << 23;
  float power;
  std::memcpy(&power, &power_bits, sizeof power);
  return fraction * power;
}

inline float silu(float x) { return x / (1.0f + exp_fast(-x)); }

inline float gelu_tanh(float x) {
  const float y = 0.797884561f * (x + 0.044715f * x * x * x);  // sqrt(2 / pi)
  // 0.5 (1 + tanh y) = 1 / (1 + e^-2y)
  return x / (1.0f + exp_fast(-2.0f * y));
}

inline float gelu(float x) { return 0.5f * x * (1.0f + __builtin_erff(x * 0.707106781f)); }

inline float relu(float x) {
  int32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  bits &= ~(bits >> 31);
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

template <float (*function)(float)>
void activate_with(float* gate, const float* up, int32_t count) {
  if (up == nullptr) {
    for (int32_t i = 0; i < count; ++i) gate[i] = function(gate[i]);
  } else {
    for (int32_t i = 0; i < count; ++i) gate[i] = function(gate[i]) * up[i];
  }
}

void activate_row(uint32_t activation, float* gate, const float* up, int32_t count) {
  switch (activation) {
    case HEARTH_ACTIVATION_SILU: return activate_with<silu>(gate, up, count);
    case HEARTH_ACTIVATION_GELU_TANH: return activate_with<gelu_tanh>(gate, up, count);
    case HEARTH_ACTIVATION_GELU: return activate_with<gelu>(gate, up, count);
    case HEARTH_ACTIVATION_RELU: return activate_with<relu>(gate, up, count);
  }
}

}  // namespace
}  // namespace hearth
