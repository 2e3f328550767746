// Weights on the device: an element in fp32 for the exact kernels, and a lane's part of an mma's A
// operand for the others. Layouts: layout.h.
#pragma once

#include "layout.h"
#include "ptx.cuh"

namespace hearth::cuda {

/// The 16-bit type that a weight's products are made in.
template <DType dtype>
struct HalfOf {
  using type = __half;
};
template <>
struct HalfOf<DType::kBF16> {
  using type = __nv_bfloat16;
};

/// Registers a0 to a3 of the A operand for columns 16 step to 16 step + 15 of a slab, dequantized.
/// slab: in shared or global memory. Scale times quant plus minimum is rounded once, to fp16.
template <DType dtype>
__device__ __forceinline__ void load_fragment(const std::byte* slab, int step, int lane,
                                              uint32_t (&a)[4]) {
  if constexpr (dtype == DType::kF16 || dtype == DType::kBF16) {
    const uint4 value = reinterpret_cast<const uint4*>(slab)[step * 32 + lane];
    a[0] = value.x, a[1] = value.y, a[2] = value.z, a[3] = value.w;
  } else {
    constexpr int kQuantBytes = dtype == DType::kQ8_0 ? 1024 : 512;
    const __half* scales = reinterpret_cast<const __half*>(slab + kQuantBytes) + step / 2 * 16;
    const int row = lane / 4;
    const __half2 scale[2] = {__half2half2(scales[row]), __half2half2(scales[row + 8])};
    if constexpr (dtype == DType::kQ8_0) {
      const uint2 word = reinterpret_cast<const uint2*>(slab)[step * 32 + lane];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const uint32_t both = (i < 2 ? word.x : word.y) >> (i % 2 * 16);
        const __half2 quants = __halves2half2(__short2half_rn(short(int8_t(both & 0xff))),
                                              __short2half_rn(short(int8_t(both >> 8 & 0xff))));
        const __half2 value = __hmul2_rn(quants, scale[i % 2]);
        a[i] = reinterpret_cast<const uint32_t&>(value);
      }
    } else {
      const uint32_t word = reinterpret_cast<const uint32_t*>(slab)[step * 32 + lane];
      constexpr uint32_t kBias = dtype == DType::kQ4_0 ? 0x64086408 : 0x64006400;  // 1024 (+ 8)
      const __half2 bias = reinterpret_cast<const __half2&>(kBias);
      __half2 minimum[2];
      if constexpr (dtype == DType::kQ4_1) {
        minimum[0] = __half2half2(scales[32 + row]);
        minimum[1] = __half2half2(scales[32 + row + 8]);
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        // 0x6400 | n is the half 1024 + n: subtracting gives n (Q4_0: n - 8) exactly.
        const uint32_t bits = (word >> (4 * i) & 0x000f000f) | 0x64006400;
        const __half2 quants = __hsub2(reinterpret_cast<const __half2&>(bits), bias);
        __half2 value;
        if constexpr (dtype == DType::kQ4_1) {
          value = __hfma2(quants, scale[i % 2], minimum[i % 2]);
        } else {
          value = __hmul2_rn(quants, scale[i % 2]);
        }
        a[i] = reinterpret_cast<const uint32_t&>(value);
      }
    }
  }
}

/// Element (row, col) of a strip in fp32: exactly scale * q, (+ minimum) rounded after each.
__device__ __forceinline__ float strip_element(DType dtype, const std::byte* strip, int row,
                                               int col) {
  const std::byte* slab = strip + size_t(col / kSlabCols) * slab_bytes(dtype);
  const int at = col % kSlabCols;
  if (dtype == DType::kF32) return reinterpret_cast<const float*>(slab)[row * kSlabCols + at];
  const int step = at / 16, k = at % 16;
  const int lane = row % 8 * 4 + k % 8 / 2, pair = row / 8 + k / 8 * 2;
  const int element = step * 256 + lane * 8 + pair * 2 + k % 2;
  if (dtype == DType::kF16) return __half2float(reinterpret_cast<const __half*>(slab)[element]);
  if (dtype == DType::kBF16) {
    return __bfloat162float(reinterpret_cast<const __nv_bfloat16*>(slab)[element]);
  }
  const int scale_index = at / 32 * 16 + row;
  const __half* scales =
      reinterpret_cast<const __half*>(slab + (dtype == DType::kQ8_0 ? 1024 : 512));
  const float scale = __half2float(scales[scale_index]);
  if (dtype == DType::kQ8_0) {
    return __fmul_rn(scale, float(reinterpret_cast<const int8_t*>(slab)[element]));
  }
  const uint32_t word = reinterpret_cast<const uint32_t*>(slab)[element / 8];
  const float quant = float(word >> (pair * 4 + k % 2 * 16) & 15);
  if (dtype == DType::kQ4_0) return __fmul_rn(scale, quant - 8);
  return __fadd_rn(__fmul_rn(scale, quant), __half2float(scales[32 + scale_index]));
}

}  // namespace hearth::cuda
