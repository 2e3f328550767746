// Passes over a row of logits, and the conversion of K and V to half.
#pragma once

#include "exp2_kernel.h"
#include "vector_kernels.h"

namespace hearth {
namespace {

/// Sixteen of `count` values; those beyond are -infinity.
inline Floats16 load_padded(const float* from, int32_t count) {
  if (count >= 16) return load(from);
  float values[16];
  for (int32_t i = 0; i < 16; ++i) values[i] = i < count ? from[i] : -__builtin_inff();
  return load(values);
}

float block_maxima(const float* logits, int32_t count, float* maxima) {
  // 0 * x is 0 for every finite x. The padding is not.
  Floats16 zero_sum = zeros();
  float rest = 0;
  for (int32_t i = count / 16 * 16; i < count; ++i) rest += 0 * logits[i];
  for (int32_t begin = 0; begin < count; begin += kLogitsBlock) {
    const int32_t size = count - begin < kLogitsBlock ? count - begin : kLogitsBlock;
    Floats16 largest = broadcast(-__builtin_inff());
    int32_t i = 0;
    for (; i + 16 <= size; i += 16) {
      const Floats16 x = load(logits + begin + i);
      largest = lanes_maximum(largest, x);
      zero_sum = multiply_add(x, zeros(), zero_sum);
    }
    if (i < size) largest = lanes_maximum(largest, load_padded(logits + begin + i, size - i));
    maxima[begin / kLogitsBlock] = max_lanes(largest);
  }
  return sum_lanes(zero_sum) + rest;
}

float weigh(const float* logits, int32_t count, float maximum, float scale, float least_logit,
            float least_weight, float* weights) {
  const Floats16 peak = broadcast(maximum), factor = broadcast(scale);
  const Floats16 logit_floor = broadcast(least_logit), weight_floor = broadcast(least_weight);
  Floats16 sums = zeros();
  for (int32_t i = 0; i < count; i += 16) {
    const Floats16 x = load_padded(logits + i, count - i);
    Floats16 weight = exp2(multiply(subtract(x, peak), factor));
    weight = zero_where_less(weight, x, logit_floor);
    weight = zero_where_less(weight, weight, weight_floor);
    sums = add(sums, weight);
    if (count - i >= 16) {
      store(weights + i, weight);
    } else {
      float last[16];
      store(last, weight);
      for (int32_t j = i; j < count; ++j) weights[j] = last[j - i];
    }
  }
  return sum_lanes(sums);
}

void halves_from_floats(const float* from, int32_t count, uint16_t* to) {
  for (int32_t i = 0; i < count; i += 16) {
    if (count - i >= 16) {
      store(to + i, load(from + i));
    } else {
      uint16_t last[16];
      store(last, load_padded(from + i, count - i));
      for (int32_t j = i; j < count; ++j) to[j] = last[j - i];
    }
  }
}

}  // namespace
}  // namespace hearth
