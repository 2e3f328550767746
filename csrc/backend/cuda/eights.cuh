// Rows by eights: a thread has eight consecutive columns, 16 bytes of a 16-bit type. Of norms, the
// parts that every kernel has that makes one, so that the bits cannot differ.
#pragma once

#include "../backend.h"
#include "ptx.cuh"

namespace hearth::cuda {

inline constexpr int kEight = 8;

/// The first count of eight floats, zeros for the others. kVector: they lie aligned to 16 bytes,
/// and count is a multiple of 4.
template <bool kVector>
__device__ __forceinline__ void load_eight(const float* from, int32_t count, float (&to)[kEight]) {
  if constexpr (kVector) {
#pragma unroll
    for (int i = 0; i < kEight; i += 4) {
      float4 four = {};
      if (i < count) four = *reinterpret_cast<const float4*>(from + i);
      to[i] = four.x, to[i + 1] = four.y, to[i + 2] = four.z, to[i + 3] = four.w;
    }
  } else {
#pragma unroll
    for (int i = 0; i < kEight; ++i) to[i] = i < count ? from[i] : 0;
  }
}

/// Stores the first count of eight values. kVector: as above, and of a 16-bit type all or none.
template <bool kVector, class T>
__device__ __forceinline__ void store_eight(T* to, int32_t count, const float (&values)[kEight]) {
  if constexpr (!kVector) {
#pragma unroll
    for (int i = 0; i < kEight; ++i) {
      if (i >= count) continue;
      if constexpr (sizeof(T) == 4) {
        to[i] = values[i];
      } else {
        to[i] = round_one<T>(values[i]);
      }
    }
  } else if constexpr (sizeof(T) == 4) {
#pragma unroll
    for (int i = 0; i < kEight; i += 4) {
      if (i < count) {
        *reinterpret_cast<float4*>(to + i) =
            make_float4(values[i], values[i + 1], values[i + 2], values[i + 3]);
      }
    }
  } else if (count > 0) {
    *reinterpret_cast<uint4*>(to) =
        make_uint4(round_pair<T>(values[0], values[1]), round_pair<T>(values[2], values[3]),
                   round_pair<T>(values[4], values[5]), round_pair<T>(values[6], values[7]));
  }
}

__device__ __forceinline__ float add_eight(const float (&x)[kEight]) {
  return ((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + (x[6] + x[7]));
}

/// The sum of squares of the first count, less the mean.
__device__ __forceinline__ float add_squares(const float (&x)[kEight], int32_t count, float mean) {
  float sums[2] = {};
#pragma unroll
  for (int i = 0; i < kEight; ++i) {
    const float value = i < count ? x[i] - mean : 0;
    sums[i % 2] = fmaf(value, value, sums[i % 2]);
  }
  return sums[0] + sums[1];
}

__device__ __forceinline__ void apply_norm(float (&x)[kEight], float mean, float factor,
                                           const float (&weight)[kEight],
                                           const float (&bias)[kEight]) {
#pragma unroll
  for (int i = 0; i < kEight; ++i) x[i] = (x[i] - mean) * factor * weight[i] + bias[i];
}

}  // namespace hearth::cuda
