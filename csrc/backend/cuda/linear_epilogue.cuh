// What happens to the sums of a linear op: bias, residual, activation, and where they go. One body
// for every kernel, so that the bits cannot differ.
#pragma once

#include "linear.h"
#include "ptx.cuh"

namespace hearth::cuda {

/// Activations in fp32, each operation rounded on its own.
__device__ __forceinline__ float activate(Activation activation, float x) {
  switch (activation) {
    case Activation::kSilu: return x / (1 + expf(-x));
    case Activation::kGeluTanh: {
      const float inner = 0.7978845608028654f * (x + 0.044715f * x * x * x);
      return 0.5f * x * (1 + tanhf(inner));
    }
    case Activation::kRelu: return fmaxf(x, 0);
    case Activation::kGelu: return 0.5f * x * (1 + erff(x * 0.7071067811865476f));
  }
  return x;
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
  if (args.outputs[0].bias != nullptr) up = __fadd_rn(up, args.outputs[0].bias[r]);
  if (args.num_outputs == 1) return activate(args.activation, up);
  if (args.outputs[1].bias != nullptr) gate = __fadd_rn(gate, args.outputs[1].bias[r]);
  return __fmul_rn(activate(args.activation, gate), up);
}

/// Stores a gated op's value. Rows r beyond the weight's pad an operand: they must be stored as 0.
template <class Half>
__device__ __forceinline__ void store_gated(const LinearArgs& args, int32_t t, int32_t r,
                                            float value) {
  const LinearOutput& up = args.outputs[0];
  if (args.out_is_operand) {
    static_cast<Half*>(up.out)[operand_element(t, r, round_up(args.rows, 8))] =
        round_one<Half>(value);
  } else if (r < up.weight.rows) {
    static_cast<float*>(up.out)[size_t(t) * up.weight.rows + r] = value;
  }
}

}  // namespace hearth::cuda
