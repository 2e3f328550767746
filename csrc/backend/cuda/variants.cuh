// Kernels are compiled for each format and each dimension of heads; which one a launch takes is
// known at run time. One switch for all launchers.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "../../error.h"
#include "layout.h"

namespace hearth::cuda {

[[noreturn]] inline void refuse_dtype(DType dtype) {
  throw Error(HEARTH_UNSUPPORTED,
              format("Cannot run kernel: no tensor-core kernel for dtype %s", dtype_name(dtype)));
}

/// Calls run.operator()<kDType>() for weights of a dtype. Throws Error(HEARTH_UNSUPPORTED) for
/// those that tensor cores do not take.
template <class Run>
void with_format(DType dtype, const Run& run) {
  switch (dtype) {
    case DType::kF16: return run.template operator()<DType::kF16>();
    case DType::kBF16: return run.template operator()<DType::kBF16>();
    case DType::kQ8_0: return run.template operator()<DType::kQ8_0>();
    case DType::kQ4_0: return run.template operator()<DType::kQ4_0>();
    case DType::kQ4_1: return run.template operator()<DType::kQ4_1>();
    default: refuse_dtype(dtype);
  }
}

/// Calls run.operator()<Half>() for a 16-bit dtype. Throws Error(HEARTH_UNSUPPORTED) for others.
template <class Run>
void with_half(DType dtype, const Run& run) {
  switch (dtype) {
    case DType::kF16: return run.template operator()<__half>();
    case DType::kBF16: return run.template operator()<__nv_bfloat16>();
    default: refuse_dtype(dtype);
  }
}

/// Calls run.operator()<Half, kHeadDim>() for a cache. Throws Error(HEARTH_UNSUPPORTED) for one
/// that attention by tensor cores does not take.
template <class Run>
void with_head(const KvSpec& spec, const Run& run) {
  const auto with_dim = [&]<class Half, int... kDims>(std::integer_sequence<int, kDims...>) {
    return ((spec.head_dim == kDims && (run.template operator()<Half, kDims>(), true)) || ...);
  };
  with_half(spec.dtype, [&]<class Half>() {
    if (with_dim.template operator()<Half>(HeadDims())) return;
    throw Error(HEARTH_UNSUPPORTED,
                format("Cannot run kernel: no tensor-core kernel for head_dim %d", spec.head_dim));
  });
}

}  // namespace hearth::cuda
