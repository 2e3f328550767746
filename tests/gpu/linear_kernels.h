// The linear kernels by name, without a dispatcher: checks and benchmarks force each of them.
#pragma once

#include "backend/cuda/linear.h"

namespace hearth::gpu_tests {

inline const char* kernel_name(cuda::LinearKernel kernel) {
  switch (kernel) {
    case cuda::LinearKernel::kExact: return "exact";
    case cuda::LinearKernel::kStreamSm80: return "stream_sm80";
    case cuda::LinearKernel::kStreamSm90: return "stream_sm90";
    case cuda::LinearKernel::kGemmSm80: return "gemm_sm80";
    case cuda::LinearKernel::kGemmSm90: return "gemm_sm90";
  }
  return "?";
}

inline bool is_stream(cuda::LinearKernel kernel) {
  return kernel == cuda::LinearKernel::kStreamSm80 || kernel == cuda::LinearKernel::kStreamSm90;
}

/// args.x must be in the form that the kernel reads.
inline void run_linear(cuda::Stream& stream, const cuda::LinearChoice& choice, DType dtype,
                       const cuda::LinearOp& args) {
  switch (choice.kernel) {
    case cuda::LinearKernel::kExact: return linear_exact(stream, choice, dtype, args);
    case cuda::LinearKernel::kStreamSm80: return linear_stream_sm80(stream, choice, dtype, args);
    case cuda::LinearKernel::kStreamSm90: return linear_stream_sm90(stream, choice, dtype, args);
    case cuda::LinearKernel::kGemmSm80: return linear_gemm_sm80(stream, choice, dtype, args);
    case cuda::LinearKernel::kGemmSm90: return linear_gemm_sm90(stream, choice, dtype, args);
  }
}

}  // namespace hearth::gpu_tests
