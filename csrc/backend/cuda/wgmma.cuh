// Hopper's own instructions: matrix products of a warpgroup, bulk copies and the barriers that
// count them. A sentence each on what they do; bodies are empty but for sm_90a.
//
// DESIGN
//   Products   Four warps (the first a multiple of four) make 64 x n sums. Of D, as of A in
//              registers, warp w has rows 16 w to 16 w + 15 and a lane what it has for
//              mma.m16n8k16 (ptx.cuh): octet j of columns is d[4 j] to d[4 j + 3].
//              Per batch of products: wgmma_fence(), wgmma() ..., wgmma_commit(), wgmma_wait<>().
//              Until then neither their registers nor what they read in shared memory may change.
//   Operands   In shared memory: 8 x 8 core matrices of 128 bytes, without swizzle.
//
//                B[k][n] n rows of 8 k each:  k is contiguous ("K-major", transposed = false)
//                B[k][n] k rows of 8 n each:  n is contiguous (transposed = true)
//
//   Barriers   A phase ends when all arrivals and all announced bytes are there; wait(parity) waits
//              for the end of the phase with that parity, the first being 0. So a consumer begins
//              with parity 0, and who waits for a free buffer with parity 1, which passes at once.
//   Proxies    Bulk copies and wgmma see shared memory through the async proxy: ordinary stores
//              that they are to see need fence_async_proxy() by the storing thread before the
//              barrier.
#pragma once

#include "ptx.cuh"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define HEARTH_HOPPER 1
#else
#define HEARTH_HOPPER 0
#endif

namespace hearth::cuda {

// ------------------------------------------------------------------------------------- barriers
//
// A barrier is 8 bytes of shared memory, 8-aligned, named by its shared address.

__device__ __forceinline__ void barrier_init(uint32_t barrier, uint32_t arrivals) {
#if HEARTH_HOPPER
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
#endif
}

/// Makes this thread's barrier_init()s visible to bulk copies; __syncthreads() or cluster_sync()
/// comes behind it.
__device__ __forceinline__ void fence_barrier_init() {
#if HEARTH_HOPPER
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

__device__ __forceinline__ void barrier_arrive(uint32_t barrier) {
#if HEARTH_HOPPER
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
#endif
}

/// Arrivals of a warp: a lane stands for all, behind a __syncwarp(). compute-sanitizer's racecheck
/// (2025.3) does not see that, and takes the other lanes' reads for unordered: for it every lane
/// arrives.
#ifdef HEARTH_RACECHECK
inline constexpr int kWarpArrivals = 32;
#else
inline constexpr int kWarpArrivals = 1;
#endif

/// Says that all lanes have done what the barrier stands for. By a whole warp.
__device__ __forceinline__ void barrier_arrive_warp(uint32_t barrier) {
  __syncwarp();
  if (threadIdx.x % 32 < kWarpArrivals) barrier_arrive(barrier);
}

/// Address by which a CTA of the cluster (`rank`) has what this one has at `address`.
__device__ __forceinline__ uint32_t cluster_address(uint32_t address, uint32_t rank) {
  uint32_t result = 0;
#if HEARTH_HOPPER
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(result) : "r"(address), "r"(rank));
#endif
  return result;
}

/// barrier_arrive() by a cluster_address(): says that this thread has read, and nothing of what it
/// wrote. (A release for the cluster would wait for all of its stores to global memory.)
__device__ __forceinline__ void barrier_arrive_cluster(uint32_t barrier) {
#if HEARTH_HOPPER
  asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0];" ::"r"(barrier) : "memory");
#endif
}

/// Waits for all threads of the cluster's CTAs. barrier_init()s that had their fence_barrier_init()
/// are visible to all of them, other stores are not.
__device__ __forceinline__ void cluster_sync() {
#if HEARTH_HOPPER
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}

/// Arrives, and announces bytes that bulk copies will add to the present phase.
__device__ __forceinline__ void barrier_arrive_expect(uint32_t barrier, uint32_t bytes) {
#if HEARTH_HOPPER
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
#endif
}

/// Waits for the end of the phase with this parity; what its arrivals and copies wrote is visible.
__device__ __forceinline__ void barrier_wait(uint32_t barrier, uint32_t parity) {
#if HEARTH_HOPPER
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "AGAIN:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra DONE;\n"
      "bra AGAIN;\n"
      "DONE:\n"
      "}" ::"r"(barrier),
      "r"(parity)
      : "memory");
#endif
}

/// Barrier `id` (1 to 15; 0 is __syncthreads()) among `threads` threads, whole warps.
__device__ __forceinline__ void named_barrier_sync(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void named_barrier_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// ----------------------------------------------------------------------------------- bulk copies

/// Copies bytes (addresses and count multiples of 16) from global to shared memory, by one thread;
/// they count towards the barrier's announced bytes.
__device__ __forceinline__ void copy_bulk(uint32_t to, const void* from, uint32_t bytes,
                                          uint32_t barrier) {
#if HEARTH_HOPPER
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(to),
      "l"(from), "r"(bytes), "r"(barrier)
      : "memory");
#endif
}

/// How a copy's lines stay in L2, for all of them: the first to go, or the last.
__device__ __forceinline__ uint64_t evict_first() {
  uint64_t policy = 0;
#if HEARTH_HOPPER
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
#endif
  return policy;
}
__device__ __forceinline__ uint64_t evict_last() {
  uint64_t policy = 0;
#if HEARTH_HOPPER
  asm("createpolicy.fractional.L2::evict_last.b64 %0, 1.0;" : "=l"(policy));
#endif
  return policy;
}

/// copy_bulk() with such a policy.
__device__ __forceinline__ void copy_bulk(uint32_t to, const void* from, uint32_t bytes,
                                          uint32_t barrier, uint64_t policy) {
#if HEARTH_HOPPER
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], "
      "[%1], %2, [%3], %4;" ::"r"(to),
      "l"(from), "r"(bytes), "r"(barrier), "l"(policy)
      : "memory");
#endif
}

/// copy_bulk() into the CTAs of the cluster whose bits are set: to and barrier are places in each.
__device__ __forceinline__ void copy_bulk_cluster(uint32_t to, const void* from, uint32_t bytes,
                                                  uint32_t barrier, uint16_t ctas) {
#if HEARTH_HOPPER
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], "
      "[%1], %2, [%3], %4;" ::"r"(to),
      "l"(from), "r"(bytes), "r"(barrier), "h"(ctas)
      : "memory");
#endif
}

/// Orders this thread's ordinary accesses to shared memory before those of the async proxy.
__device__ __forceinline__ void fence_async_proxy() {
#if HEARTH_HOPPER
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

// ------------------------------------------------------------------------------------- registers

/// Gives registers back, so that each thread of this warpgroup has kRegisters (a multiple of 8).
template <int kRegisters>
__device__ __forceinline__ void shrink_registers() {
#if HEARTH_HOPPER
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
#endif
}

/// Waits until each thread of this warpgroup can have kRegisters.
template <int kRegisters>
__device__ __forceinline__ void grow_registers() {
#if HEARTH_HOPPER
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
#endif
}

// -------------------------------------------------------------------------------------- products

/// Orders earlier accesses to registers (of D and A) before the wgmma()s that follow.
__device__ __forceinline__ void wgmma_fence() {
#if HEARTH_HOPPER
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}

/// Closes the batch of wgmma()s since the last call.
__device__ __forceinline__ void wgmma_commit() {
#if HEARTH_HOPPER
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}

/// Waits until at most `pending` batches are unfinished.
template <int pending>
__device__ __forceinline__ void wgmma_wait() {
#if HEARTH_HOPPER
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
#endif
}

/// Keeps the compiler from moving uses of these registers across this place.
template <int n>
__device__ __forceinline__ void pin_registers(float (&d)[n]) {
#pragma unroll
  for (float& value : d) asm volatile("" : "+f"(value)::"memory");
}

/// Descriptor of an operand in shared memory; adding (bytes >> 4) to it moves its address.
/// stride, leading (SBO and LBO, bytes between core matrices, multiples of 16):
///   not transposed: stride from 8 rows of n to the next, leading from 8 columns of k to the next;
///   transposed:     stride from 8 columns of n to the next, leading from 8 rows of k to the next.
__device__ __forceinline__ uint64_t matrix_descriptor(uint32_t address, uint32_t leading,
                                                      uint32_t stride) {
  return uint64_t((address & 0x3ffff) >> 4) | uint64_t(leading >> 4) << 16 |
         uint64_t(stride >> 4) << 32;
}

// Registers %0 to %(count - 1), as text and as operands.
#define HEARTH_NAMES_32                                                                    \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23," \
  "%24,%25,%26,%27,%28,%29,%30,%31"
#define HEARTH_NAMES_40 HEARTH_NAMES_32 ",%32,%33,%34,%35,%36,%37,%38,%39"
#define HEARTH_NAMES_48 HEARTH_NAMES_40 ",%40,%41,%42,%43,%44,%45,%46,%47"
#define HEARTH_NAMES_64 \
  HEARTH_NAMES_48 ",%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define HEARTH_NAMES_128                                                                  \
  HEARTH_NAMES_64                                                                         \
  ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84," \
  "%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95,%96,%97,%98,%99,%100,%101,%102,%103,%104," \
  "%105,%106,%107,%108,%109,%110,%111,%112,%113,%114,%115,%116,%117,%118,%119,%120,%121," \
  "%122,%123,%124,%125,%126,%127"
#define HEARTH_D8(i)                                                                          \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
      "+f"(d[i + 6]), "+f"(d[i + 7])
#define HEARTH_D32(i) HEARTH_D8(i), HEARTH_D8(i + 8), HEARTH_D8(i + 16), HEARTH_D8(i + 24)
#define HEARTH_OPERANDS_32 HEARTH_D32(0)
#define HEARTH_OPERANDS_40 HEARTH_D32(0), HEARTH_D8(32)
#define HEARTH_OPERANDS_48 HEARTH_D32(0), HEARTH_D8(32), HEARTH_D8(40)
#define HEARTH_OPERANDS_64 HEARTH_D32(0), HEARTH_D32(32)
#define HEARTH_OPERANDS_128 HEARTH_D32(0), HEARTH_D32(32), HEARTH_D32(64), HEARTH_D32(96)

// count: registers of D; r0 to r5: the numbers behind them.
#define HEARTH_WGMMA_REGISTERS(n, type, count, r0, r1, r2, r3, r4, r5, r6)                      \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #r5                                         \
               ", 0;\n"                                                                         \
               "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." type " {" HEARTH_NAMES_##count \
               "}, {%" #r0 ",%" #r1 ",%" #r2 ",%" #r3 "}, %" #r4 ", p, 1, 1, %" #r6 ";\n}"      \
               : HEARTH_OPERANDS_##count                                                        \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(int(accumulate)),      \
                 "n"(int(transposed)))
#define HEARTH_WGMMA_SHARED(n, type, count, r0, r1, r2, r3)                                     \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #r2                                         \
               ", 0;\n"                                                                         \
               "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." type " {" HEARTH_NAMES_##count \
               "}, %" #r0 ", %" #r1 ", p, 1, 1, 0, %" #r3 ";\n}"                                \
               : HEARTH_OPERANDS_##count                                                        \
               : "l"(a), "l"(b), "r"(int(accumulate)), "n"(int(transposed)))

#define HEARTH_WGMMA_SIZES(type)                                     \
  if constexpr (n == 64) {                                           \
    HEARTH_WGMMA(64, type, 32, 32, 33, 34, 35, 36, 37, 38);          \
  } else if constexpr (n == 80) {                                    \
    HEARTH_WGMMA(80, type, 40, 40, 41, 42, 43, 44, 45, 46);          \
  } else if constexpr (n == 96) {                                    \
    HEARTH_WGMMA(96, type, 48, 48, 49, 50, 51, 52, 53, 54);          \
  } else if constexpr (n == 128) {                                   \
    HEARTH_WGMMA(128, type, 64, 64, 65, 66, 67, 68, 69, 70);         \
  } else {                                                           \
    HEARTH_WGMMA(256, type, 128, 128, 129, 130, 131, 132, 133, 134); \
  }
#define HEARTH_WGMMA_TYPES                 \
  if constexpr (__is_same(Half, __half)) { \
    HEARTH_WGMMA_SIZES("f16.f16")          \
  } else {                                 \
    HEARTH_WGMMA_SIZES("bf16.bf16")        \
  }

/// d (+)= a b: a 64 x 16 in registers, b 16 x n in shared memory. Without accumulate what d held
/// counts as 0. In the background: see above.
template <int n, class Half, bool transposed = false>
__device__ __forceinline__ void wgmma(float (&d)[n / 2], const uint32_t (&a)[4], uint64_t b,
                                      bool accumulate) {
  static_assert(n == 64 || n == 80 || n == 96 || n == 128 || n == 256);
#if HEARTH_HOPPER
#define HEARTH_WGMMA HEARTH_WGMMA_REGISTERS
  HEARTH_WGMMA_TYPES
#undef HEARTH_WGMMA
#endif
}

/// The same with a, not transposed, in shared memory too.
template <int n, class Half, bool transposed = false>
__device__ __forceinline__ void wgmma(float (&d)[n / 2], uint64_t a, uint64_t b, bool accumulate) {
  static_assert(n == 64 || n == 80 || n == 96 || n == 128 || n == 256);
#if HEARTH_HOPPER
#define HEARTH_WGMMA(n, type, count, r0, r1, r2, r3, ...) \
  HEARTH_WGMMA_SHARED(n, type, count, r0, r1, r2, r3)
  HEARTH_WGMMA_TYPES
#undef HEARTH_WGMMA
#endif
}

#undef HEARTH_WGMMA_TYPES
#undef HEARTH_WGMMA_SIZES
#undef HEARTH_WGMMA_SHARED
#undef HEARTH_WGMMA_REGISTERS
#undef HEARTH_OPERANDS_128
#undef HEARTH_OPERANDS_64
#undef HEARTH_OPERANDS_48
#undef HEARTH_OPERANDS_40
#undef HEARTH_OPERANDS_32
#undef HEARTH_D32
#undef HEARTH_D8
#undef HEARTH_NAMES_128
#undef HEARTH_NAMES_64
#undef HEARTH_NAMES_48
#undef HEARTH_NAMES_40
#undef HEARTH_NAMES_32

}  // namespace hearth::cuda
