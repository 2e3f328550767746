// What happens to the sums of a linear op: bias, residual, activation, and where they go. One body
// for every kernel, so that the bits cannot differ.
#pragma once

#include "linear.h"
#include "ptx.cuh"

namespace hearth::cuda {

/// An activation in fp32, each operation rounded on its own.
template <Activation activation>
__device__ __forceinline__ float activate(float x) {
  if constexpr (activation == Activation::kSilu) {
    // x / (1 + e^-x), by a reciprocal within an ulp: a division has branches, and values would wait
    // for one another. Where the divisor is huge it is 0, and so is the result.
    float inverse;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(__fadd_rn(1, expf(-x))));
    return __fmul_rn(x, inverse);
  } else if constexpr (activation == Activation::kGeluTanh) {
    const float inner = 0.7978845608028654f * (x + 0.044715f * x * x * x);
    return 0.5f * x * (1 + tanhf(inner));
  } else if constexpr (activation == Activation::kRelu) {
    return fmaxf(x, 0);
  } else {
    static_assert(activation == Activation::kGelu);
    return 0.5f * x * (1 + erff(x * 0.7071067811865476f));
  }
}

/// Activates all values: they go side by side, as the activation is known for each loop.
template <int kCount>
__device__ __forceinline__ void activate(Activation activation, float (&values)[kCount]) {
  const auto each = [&]<Activation kKnown>() {
#pragma unroll
    for (float& value : values) value = activate<kKnown>(value);
  };
  switch (activation) {
    case Activation::kSilu: return each.template operator()<Activation::kSilu>();
    case Activation::kGeluTanh: return each.template operator()<Activation::kGeluTanh>();
    case Activation::kRelu: return each.template operator()<Activation::kRelu>();
    case Activation::kGelu: return each.template operator()<Activation::kGelu>();
  }
}

/// out[t, r] = sum + bias (+ residual), where the output has them
__device__ __forceinline__ void finish(const LinearOutput& output, int32_t t, int32_t r, float sum,
                                       float bias, float residual) {
  if (output.bias != nullptr) sum = __fadd_rn(sum, bias);
  if (output.residual != nullptr) sum = __fadd_rn(sum, residual);
  static_cast<float*>(output.out)[size_t(t) * output.weight.rows + r] = sum;
}

/// The same, which loads them.
__device__ __forceinline__ void finish(const LinearOutput& output, int32_t t, int32_t r,
                                       float sum) {
  const size_t at = size_t(t) * output.weight.rows + r;
  if (output.bias != nullptr) sum = __fadd_rn(sum, output.bias[r]);
  if (output.residual != nullptr) sum = __fadd_rn(sum, output.residual[at]);
  static_cast<float*>(output.out)[at] = sum;
}

/// The value of a gated op: act(gate + bias) * (up + bias), or act(up + bias).
__device__ __forceinline__ float gated_value(const LinearArgs& args, int32_t r, float up,
                                             float gate) {
  const bool is_gated = args.num_outputs == 2;
  if (args.outputs[0].bias != nullptr) up = __fadd_rn(up, args.outputs[0].bias[r]);
  if (is_gated && args.outputs[1].bias != nullptr) gate = __fadd_rn(gate, args.outputs[1].bias[r]);
  float value[1] = {is_gated ? gate : up};
  activate(args.activation, value);
  return is_gated ? __fmul_rn(value[0], up) : value[0];
}

}  // namespace hearth::cuda
