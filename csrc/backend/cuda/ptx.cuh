// The instructions that C++ has no word for, a sentence each on what they do.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace hearth::cuda {

// Whether wait_for_previous() waits; where it does not, no kernel may begin before the one ahead of
// it has ended (LoadedCode::waits_for_previous).
#if __CUDA_ARCH__ >= 900
#define HEARTH_WAITS_FOR_PREVIOUS 1
#else
#define HEARTH_WAITS_FOR_PREVIOUS 0
#endif

/// Waits until all that the kernels ahead in the stream wrote is visible. Before it a kernel may
/// only read what no kernel of a step writes (weights), and write nothing in global memory.
__device__ __forceinline__ void wait_for_previous() {
#if HEARTH_WAITS_FOR_PREVIOUS
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// Lets the next kernel of the stream begin its prologue once every CTA has said so or ended.
__device__ __forceinline__ void let_next_begin() {
#if HEARTH_WAITS_FOR_PREVIOUS
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return uint32_t(__cvta_generic_to_shared(pointer));
}

/// Copies 16 bytes to shared memory in the background, past L1. With valid false, zeros.
__device__ __forceinline__ void copy_async(uint32_t to, const void* from, bool valid = true) {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
               "r"(valid ? 16 : 0)
               : "memory");
#endif
}

/// Closes the group of copies since the last call.
__device__ __forceinline__ void commit_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/// Waits until at most `pending` of this thread's groups are unfinished.
template <int pending>
__device__ __forceinline__ void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
#endif
}

/// Four 8 x 8 matrices of 16-bit values; lane 8 i + r holds the address of row r of matrix i. Each
/// register is then one matrix as an mma's fragment: lane g * 4 + t has (row g, columns 2t, 2t +
/// 1).
__device__ __forceinline__ void load_matrices(uint32_t (&to)[4], uint32_t address) {
#if __CUDA_ARCH__ >= 800
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(address)
               : "memory");
#endif
}

/// The same, each matrix transposed.
__device__ __forceinline__ void load_matrices_transposed(uint32_t (&to)[4], uint32_t address) {
#if __CUDA_ARCH__ >= 800
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(address)
               : "memory");
#endif
}

/// c += a b, a: 16 x 16, b: 16 x 8, fp32 sums. c: lane g * 4 + t has rows g (c[0], c[1]) and g + 8
/// (c[2], c[3]), columns 2t, 2t + 1.
template <class Half>
__device__ __forceinline__ void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                    uint32_t b1) {
#if __CUDA_ARCH__ >= 800
  if constexpr (sizeof(Half) == 2 && __is_same(Half, __half)) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
#endif
}

/// The sum over `lanes` neighbours, a power of two, in each: a butterfly. By whole warps.
template <class T>
__device__ __forceinline__ T add_lanes(T value, int lanes = 32) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    if (distance < lanes) value += __shfl_xor_sync(0xffffffff, value, distance);
  }
  return value;
}

/// 2^x, denormal results as 0.
__device__ __forceinline__ float exp2_approximate(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

/// Two values rounded to nearest, `low` in the low half.
template <class Half>
__device__ __forceinline__ uint32_t round_pair(float low, float high) {
  if constexpr (__is_same(Half, __half)) {
    const __half2 pair = __floats2half2_rn(low, high);
    return reinterpret_cast<const uint32_t&>(pair);
  } else {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return reinterpret_cast<const uint32_t&>(pair);
  }
}

template <class Half>
__device__ __forceinline__ Half round_one(float value) {
  if constexpr (__is_same(Half, __half)) {
    return __float2half_rn(value);
  } else {
    return __float2bfloat16_rn(value);
  }
}

}  // namespace hearth::cuda
