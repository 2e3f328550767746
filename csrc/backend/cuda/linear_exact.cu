// Linear ops in fp32, for the exact mode, fp32 weights and devices without tensor cores.
//
// DESIGN
//   A warp makes one row of the weight for up to kTokens tokens: lane l adds columns l, l + 32, ...
//   by FMA, then the lanes are added by a butterfly. That order depends on nothing else. Weights
//   are dequantized as the CPU does it: scale * q (+ minimum), rounded after each.
#include "fragments.cuh"
#include "linear_epilogue.cuh"

namespace hearth::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kTokens = 8;

__device__ __forceinline__ void dot_rows(const LinearArgs& args, DType dtype,
                                         const WeightRef& weight, int32_t r, int32_t first_token,
                                         int32_t tokens, int lane, float (&sums)[kTokens]) {
  const std::byte* strip = strip_address(weight, r / kStripRows);
  const float* x = static_cast<const float*>(args.x) + size_t(first_token) * args.cols;
#pragma unroll
  for (float& sum : sums) sum = 0;
  for (int32_t col = lane; col < args.cols; col += 32) {
    const float w = strip_element(dtype, strip, r % kStripRows, col);
#pragma unroll
    for (int i = 0; i < kTokens; ++i) {
      if (i < tokens) sums[i] = fmaf(x[size_t(i) * args.cols + col], w, sums[i]);
    }
  }
#pragma unroll
  for (float& sum : sums) sum = add_lanes(sum);
}

__global__ void __launch_bounds__(kWarps * 32)
    exact_kernel(const __grid_constant__ LinearArgs args, DType dtype) {
  let_next_begin();
  wait_for_previous();
  const int lane = threadIdx.x % 32;
  int32_t r = blockIdx.x * kWarps + threadIdx.x / 32;
  const int32_t first_token = blockIdx.y * kTokens;
  const int32_t tokens = min(kTokens, args.rows - first_token);
  float sums[kTokens];

  if (args.has_activation) {
    if (r >= args.outputs[0].weight.rows) return;
    float gates[kTokens] = {};
    dot_rows(args, dtype, args.outputs[0].weight, r, first_token, tokens, lane, sums);
    if (args.num_outputs == 2) {
      dot_rows(args, dtype, args.outputs[1].weight, r, first_token, tokens, lane, gates);
    }
    for (int i = lane; i < tokens; i += 32) {
      float up = 0, gate = 0;
#pragma unroll
      for (int j = 0; j < kTokens; ++j) {
        if (j == i) up = sums[j], gate = gates[j];
      }
      const float value = gated_value(args, r, up, gate);
      static_cast<float*>(
          args.outputs[0].out)[size_t(first_token + i) * args.outputs[0].weight.rows + r] = value;
    }
    return;
  }

  int output = 0;
  while (output < args.num_outputs && r >= args.outputs[output].weight.rows) {
    r -= args.outputs[output++].weight.rows;
  }
  if (output == args.num_outputs) return;
  dot_rows(args, dtype, args.outputs[output].weight, r, first_token, tokens, lane, sums);
  for (int i = lane; i < tokens; i += 32) {
    float sum = 0;
#pragma unroll
    for (int j = 0; j < kTokens; ++j) {
      if (j == i) sum = sums[j];
    }
    finish(args.outputs[output], first_token + i, r, sum);
  }
}

}  // namespace

void linear_exact(Stream& stream, const LinearChoice& /*choice*/, DType dtype,
                  const LinearArgs& args) {
  int32_t rows = 0;
  const int num_outputs = args.has_activation ? 1 : args.num_outputs;
  for (int i = 0; i < num_outputs; ++i) rows += args.outputs[i].weight.rows;
  const dim3 grid((rows + kWarps - 1) / kWarps, (args.rows + kTokens - 1) / kTokens);
  launch(stream, exact_kernel, grid, dim3(kWarps * 32), 0, args, dtype);
}

}  // namespace hearth::cuda
