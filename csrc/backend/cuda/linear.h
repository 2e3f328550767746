// Linear ops on the device: what a launch is told, and the kernels to choose from. Numerics:
// docs/decisions/0007-cuda-numerics.md; layouts: layout.h.
#pragma once

#include "device.h"
#include "dispatch.h"
#include "layout.h"
#include "step_view.h"

namespace hearth::cuda {

/// One weight of a launch: out[t, r] = x[t] · weight[r] + bias[r] (+ residual[t, r]).
struct LinearOutput {
  WeightRef weight;
  const float* bias = nullptr;      // [weight.rows], or null
  const float* residual = nullptr;  // [rows, weight.rows], or null; may be out
  void* out = nullptr;              // float[rows, weight.rows]; see LinearArgs::out_is_operand
};

/// Where linear_stream_sm90() puts q, K and V (outputs 0 to 2) where fuses_rope() says so: q
/// rotated to outputs[0].out, K rotated and V to the step's slots of the KV cache.
struct QkvTarget {
  KvCache kv;  // data null: outputs go to their own out
  int32_t layer = 0;
  const int32_t* kv_slots = nullptr;  // [rows]; negative: K and V are not stored
  RopeAngles angles;                  // half: of head_dim, or 0
};

/// Strips of 16 rows of a head of q, K or V.
constexpr int32_t head_strips(const KvSpec& spec) { return spec.head_dim / kStripRows; }

/// A kernel's argument, by value (__grid_constant__: its array is indexed at run time).
struct LinearArgs {
  static constexpr int kMaxOutputs = 3;

  const void* x = nullptr;  // operand [rows, cols], or float[rows, cols] for linear_exact()
  /// In place of x: float[1, cols], of which linear_stream_sm90() makes the operand itself
  /// (norms_itself()).
  const float* raw = nullptr;
  NormView norm;
  int32_t rows = 0;  // tokens
  int32_t cols = 0;  // of the weights, as in the model

  /// Without an activation: num_outputs independent ones. With it: outputs[0] is up, outputs[1], if
  /// num_outputs is 2, gate; outputs[0].out[t, r] = act(gate or up) (* up).
  int32_t num_outputs = 1;
  bool has_activation = false;
  Activation activation = Activation::kSilu;
  /// outputs[0].out is an operand [rows, weight.rows] of the weights' 16-bit type, columns padded
  /// with zeros, for the next linear op (only with an activation).
  bool out_is_operand = false;
  LinearOutput outputs[kMaxOutputs];
  QkvTarget qkv;

  constexpr bool has_qkv() const { return qkv.kv.data != nullptr; }
};

/// What a launch is told beside its kernel's arguments: each byte of those makes a short kernel
/// begin later.
struct LinearOp : LinearArgs {
  /// Of outputs[0]'s weight, where it is the only one; linear_stream_sm90() may bet on it.
  PageGuess guess;
};

/// Stream the weights once for up to kMaxStreamTokens (dispatch.h): for decode. By cp.async (8.0
/// and up), or by bulk copies (9.0).
void linear_stream_sm80(Stream& stream, const LinearChoice& choice, DType dtype,
                        const LinearArgs& args);
void linear_stream_sm90(Stream& stream, const LinearChoice& choice, DType dtype,
                        const LinearOp& op);
/// Whether linear_stream_sm90() takes args.raw: a kernel less where latency is all.
constexpr bool norms_itself(int32_t rows, int32_t cols) {
  return rows == 1 && cols <= 1024 && cols % 4 == 0;
}
/// Tiles for many tokens: mma.sync (8.0 and up), or wgmma and bulk copies (9.0).
void linear_gemm_sm80(Stream& stream, const LinearChoice& choice, DType dtype,
                      const LinearArgs& args);
void linear_gemm_sm90(Stream& stream, const LinearChoice& choice, DType dtype,
                      const LinearArgs& args);
/// fp32 inputs and products, one fixed order over k, any device. args.x is float.
void linear_exact(Stream& stream, const LinearChoice& choice, DType dtype, const LinearArgs& args);

}  // namespace hearth::cuda
