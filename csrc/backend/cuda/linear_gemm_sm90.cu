// Linear ops for many tokens on Hopper: as fast as its tensor cores go.
//
//   flops   2 * rows * cols * tokens, which is all that counts from a few hundred tokens on
//   bytes   between L2 and the multiprocessors, two tiles of 128 rows by the same 256 tokens: 1 for
//           128 products, 32 in a clock; L2 has hardly more than 40
//
// DESIGN
//   Roles     Two warpgroups multiply, 64 rows of the weight by all of the tile's tokens each; a
//             warp has a strip. Of a gated op the first has up, the second gate. A third warpgroup
//             copies: one warp the strips, one the operand. One CTA to a multiprocessor; it goes
//             through tiles (linear_gemm.cuh), and copies run ahead into the next tile while sums
//             are stored.
//
//               copy strips    | s0 | s1 | s2 | s3 |      | s4 | ...       bulk copies into a ring
//               copy operand   | s0 | s1 | s2 | s3 |      | s4 | ...       of stages of 64 columns
//               multiply           | s0 | s1 | s2 | s3 | s4 | ...
//
//   Cluster   Two CTAs have the same tokens. Each copies its own strips, and half of the operand
//             into both. So a stage is free when the warps of both have left it, and neither may
//             end while the other still has to say so.
//   Operands  Weights are A, from registers: strips lie as fragments, and quantized ones become
//             fp16 on the way. Tokens are B, from shared memory, where they lie as in memory.
//   Overlap   A stage's fragments are loaded while the products of the stage before it are made:
//             two sets of registers take turns. A stage is free when its products are done.
//   Previous  Strips are asked for before the kernel ahead has ended.
//   Gated     Up and gate meet in shared memory: a thread's sums belong to those of the same thread
//             of the other warpgroup. It also keeps the activations out of unrolled loops.
//   Same bits A row's sums are one chain over k, as in linear_stream_sm90.cu.
#include "linear_gemm.cuh"
#include "variants.cuh"
#include "wgmma.cuh"

#if defined(__CUDA_ARCH__) && !HEARTH_HOPPER
#pragma nv_diag_suppress 177  // the kernels are empty here and use nothing of what follows
#endif

namespace hearth::cuda {
namespace {

constexpr int kWarpgroupThreads = 128;  // of a warpgroup
constexpr int kMultiplyThreads = 2 * kWarpgroupThreads;
constexpr int kThreads = 3 * kWarpgroupThreads;
constexpr int kOctetBytes = 1024;  // of 8 tokens in 64 columns
constexpr int kMatrixBytes = 128;  // of 8 tokens in 8 columns
constexpr int kSteps = kSlabCols / 16;
constexpr int kCluster = 2;  // CTAs
constexpr int kRingBytes = 192 * 1024;
constexpr int kStagedOctets = 8;  // of sums that a thread leaves in shared memory at once
constexpr int kMeeting = 1;       // named barrier of the warpgroups that multiply
// 232 * 256 + 40 * 128 registers: what 168 * 384 at launch leave.
constexpr int kMultiplyRegisters = 232;
constexpr int kCopyRegisters = 40;

template <DType dtype, int kTokens>
struct Shared {
  static constexpr int kStripBytes = slab_bytes(dtype);
  static constexpr int kStageBytes = kTokens / 8 * kOctetBytes + kTileStrips * kStripBytes;
  static constexpr int kStages = std::min(12, kRingBytes / kStageBytes);

  std::byte stages[kStages][kStageBytes];  // operand, then strips
  float4 sums[2][kStagedOctets][kWarpgroupThreads];
  uint64_t full[kStages];   // 2 arrivals: strips, operand
  uint64_t empty[kStages];  // 16 arrivals: the warps of the cluster that multiply

  static constexpr int strip_offset(int strip) {
    return kTokens / 8 * kOctetBytes + strip * kStripBytes;
  }
};

/// A place in the ring.
template <int kStages>
struct RingPlace {
  int32_t stage = 0;
  uint32_t parity = 0;

  __device__ __forceinline__ void advance() {
    if (++stage == kStages) stage = 0, parity ^= 1;
  }
};

/// Copies the strips of the CTA's tiles, a lane each.
template <DType dtype, int kTokens>
__device__ __forceinline__ void copy_strips(const LinearArgs& args, const GemmGrid& grid,
                                            Shared<dtype, kTokens>& shared, int lane) {
  using Ring = Shared<dtype, kTokens>;
  const uint32_t to = shared_address(shared.stages) + Ring::strip_offset(lane);
  const uint32_t full = shared_address(shared.full), empty = shared_address(shared.empty);
  const int32_t num_slabs = args.outputs[0].weight.slabs;
  RingPlace<Ring::kStages> place;
  for (int32_t index = blockIdx.x; index < grid.num_tiles(); index += gridDim.x) {
    const GemmTile tile = find_tile(args, grid, index);
    const std::byte* from = lane < kTileStrips ? tile_strip(args, tile, lane) : nullptr;
    const bool has_strip = from != nullptr;
    const uint32_t bytes = __popc(__ballot_sync(0xffffffff, has_strip)) * Ring::kStripBytes;
    for (int32_t slab = 0; slab < num_slabs; ++slab) {
      barrier_wait(empty + place.stage * 8, place.parity ^ 1);
      if (lane == 0) barrier_arrive_expect(full + place.stage * 8, bytes);
      __syncwarp();
      if (has_strip) {
        copy_bulk(to + place.stage * Ring::kStageBytes, from, Ring::kStripBytes,
                  full + place.stage * 8);
        from += Ring::kStripBytes;
      }
      place.advance();
    }
  }
}

/// Asks L2 for what the sums of an octet of the tile's tokens will be added to.
__device__ __forceinline__ void prefetch_residual(const LinearArgs& args, const GemmTile& tile,
                                                  int32_t first_token, int lane) {
  const LinearOutput& output = args.outputs[tile.output];
  if (args.has_activation || output.residual == nullptr) return;
  const int32_t rows = output.weight.rows;
  const int32_t t = first_token + lane / 4, r = tile.first_row + lane % 4 * 32;  // 128 bytes each
  if (t >= args.rows || r >= rows) return;
  asm volatile("prefetch.global.L2 [%0];" ::"l"(output.residual + size_t(t) * rows + r));
}

/// Copies the operand for the cluster's tiles: a part of the octets into all of its CTAs.
template <DType dtype, int kTokens>
__device__ __forceinline__ void copy_operand(const LinearArgs& args, const GemmGrid& grid,
                                             Shared<dtype, kTokens>& shared, int lane) {
  using Ring = Shared<dtype, kTokens>;
  const uint32_t to = shared_address(shared.stages);
  const uint32_t full = shared_address(shared.full), empty = shared_address(shared.empty);
  const int32_t num_slabs = args.outputs[0].weight.slabs;
  const int32_t octets = round_up(args.rows, 8) / 8;
  const int32_t rank = blockIdx.x % kCluster;
  RingPlace<Ring::kStages> place;
  for (int32_t index = blockIdx.x; index < grid.num_tiles(); index += gridDim.x) {
    const GemmTile tile = find_tile(args, grid, index);
    const int32_t first_octet = tile.token_tile * (kTokens / 8);
    // Residuals are asked for along the last slabs, an octet each: L2 would not keep them longer.
    int32_t octet = kTokens / 8 - num_slabs;
    for (int32_t i = 0; i < octet; ++i) {
      prefetch_residual(args, tile, (first_octet + i) * 8, lane);
    }
    const int32_t tile_octets = min(kTokens / 8, octets - first_octet);
    const int32_t begin = tile_octets * rank / kCluster, end = tile_octets * (rank + 1) / kCluster;
    const std::byte* from =
        static_cast<const std::byte*>(args.x) + size_t(first_octet + begin) * kOctetBytes;
    for (int32_t slab = 0; slab < num_slabs; ++slab) {
      barrier_wait(empty + place.stage * 8, place.parity ^ 1);
      if (lane == 0) {
        barrier_arrive_expect(full + place.stage * 8, tile_octets * kOctetBytes);
        if (begin < end) {
          copy_bulk_cluster(to + place.stage * Ring::kStageBytes + begin * kOctetBytes, from,
                            (end - begin) * kOctetBytes, full + place.stage * 8,
                            (1 << kCluster) - 1);
        }
      }
      if (octet >= 0) prefetch_residual(args, tile, (first_octet + octet) * 8, lane);
      ++octet;
      from += size_t(octets) * kOctetBytes;
      place.advance();
    }
  }
  let_next_begin();
  // The CTA must be there for the last arrivals of the others.
  for (int stage = 0; stage < Ring::kStages; ++stage) {
    barrier_wait(empty + place.stage * 8, place.parity ^ 1);
    place.advance();
  }
}

/// Stores a tile's sums. By all warps that multiply.
template <DType dtype, int kTokens>
__device__ __forceinline__ void store_tile(const LinearArgs& args, const GemmTile& tile,
                                           Shared<dtype, kTokens>& shared,
                                           const float (&sums)[kTokens / 2]) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int warpgroup = warp / 4, thread = threadIdx.x % kWarpgroupThreads;
  const int32_t first_token = tile.token_tile * kTokens;
  if (!args.has_activation) {
    finish_strip<kTokens / 8>(args, args.outputs[tile.output], tile.first_row + warp * kStripRows,
                              first_token, lane, sums);
    return;
  }
  const bool is_gated = has_gate(args);
  const int32_t strip_row = tile.first_row + (is_gated ? warp % 4 : warp) * kStripRows;
#pragma unroll
  for (int first = 0; first < kTokens / 8; first += kStagedOctets) {
#pragma unroll
    for (int octet = 0; octet < kStagedOctets; ++octet) {
      const float* const four = sums + (first + octet) * 4;
      shared.sums[warpgroup][octet][thread] = make_float4(four[0], four[1], four[2], four[3]);
    }
    // Each warpgroup stores half of a gated op's octets.
    if (is_gated) named_barrier_sync(kMeeting, kMultiplyThreads);
    const int begin = is_gated ? warpgroup * (kStagedOctets / 2) : 0;
    const int end = is_gated ? begin + kStagedOctets / 2 : kStagedOctets;
#pragma unroll 1
    for (int octet = begin; octet < end; ++octet) {
      store_gated_octet<typename HalfOf<dtype>::type>(
          args, strip_row, first_token + (first + octet) * 8, lane,
          shared.sums[is_gated ? 1 : warpgroup][octet][thread], shared.sums[0][octet][thread]);
    }
    if (is_gated) named_barrier_sync(kMeeting, kMultiplyThreads);
  }
}

/// Multiplies and stores the CTA's tiles.
template <DType dtype, int kTokens>
__device__ __forceinline__ void multiply_tiles(const LinearArgs& args, const GemmGrid& grid,
                                               Shared<dtype, kTokens>& shared) {
  using Half = typename HalfOf<dtype>::type;
  using Ring = Shared<dtype, kTokens>;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const uint32_t full = shared_address(shared.full);
  const uint32_t empty = shared_address(shared.empty);
  const uint64_t operand =
      matrix_descriptor(shared_address(shared.stages), kMatrixBytes, kOctetBytes);
  const int32_t num_slabs = args.outputs[0].weight.slabs;
  RingPlace<Ring::kStages> place;
  const auto release_last = [&] {
    const int32_t last = place.stage == 0 ? Ring::kStages - 1 : place.stage - 1;
    __syncwarp();
    // A lane tells one CTA of the cluster that a stage is free.
    for (int i = lane; i < kCluster * kWarpArrivals; i += 32) {
      barrier_arrive_cluster(cluster_address(empty, i / kWarpArrivals) + last * 8);
    }
  };
  for (int32_t index = blockIdx.x; index < grid.num_tiles(); index += gridDim.x) {
    float sums[kTokens / 2];  // the first product sets them
    uint32_t even[kSteps][4], odd[kSteps][4];

    const auto multiply_slab = [&](uint32_t(&fragments)[kSteps][4], int32_t slab) {
      barrier_wait(full + place.stage * 8, place.parity);
      const std::byte* const strip = shared.stages[place.stage] + Ring::strip_offset(warp);
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        load_fragment<dtype>(strip, step, lane, fragments[step]);
      }
      const uint64_t tokens = operand + place.stage * (Ring::kStageBytes / 16);
      wgmma_fence();
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        wgmma<kTokens, Half>(sums, fragments[step], tokens + step * (2 * kMatrixBytes / 16),
                             slab > 0 || step > 0);
      }
      wgmma_commit();
      wgmma_wait<1>();  // the slab before this one is done
      if (slab > 0) release_last();
      place.advance();
    };

    for (int32_t slab = 0; slab + 1 < num_slabs; slab += 2) {
      multiply_slab(even, slab);
      multiply_slab(odd, slab + 1);
    }
    if (num_slabs % 2 != 0) multiply_slab(even, num_slabs - 1);
    wgmma_wait<0>();
    pin_registers(sums);
    release_last();
    store_tile<dtype, kTokens>(args, find_tile(args, grid, index), shared, sums);
  }
}

template <DType dtype, int kTokens>
__global__ void __launch_bounds__(kThreads, 1)
    gemm_kernel(const __grid_constant__ LinearArgs args, const __grid_constant__ GemmGrid grid) {
#if HEARTH_HOPPER
  extern __shared__ __align__(128) std::byte dynamic[];
  auto& shared = *reinterpret_cast<Shared<dtype, kTokens>*>(dynamic);
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < Shared<dtype, kTokens>::kStages; ++stage) {
      barrier_init(shared_address(&shared.full[stage]), 2);
      barrier_init(shared_address(&shared.empty[stage]),
                   kCluster * kMultiplyThreads / 32 * kWarpArrivals);
    }
    fence_barrier_init();
  }
  __syncwarp();
  cluster_sync();

  if (threadIdx.x >= kMultiplyThreads) {
    shrink_registers<kCopyRegisters>();
    const int warp = (threadIdx.x - kMultiplyThreads) / 32, lane = threadIdx.x % 32;
    if (warp == 0) copy_strips<dtype, kTokens>(args, grid, shared, lane);
    wait_for_previous();
    if (warp == 1) copy_operand<dtype, kTokens>(args, grid, shared, lane);
  } else {
    grow_registers<kMultiplyRegisters>();
    wait_for_previous();
    multiply_tiles<dtype, kTokens>(args, grid, shared);
  }
#endif
}

/// CTAs that run at once.
int32_t max_ctas(const Stream& stream) { return stream.num_multiprocessors / kCluster * kCluster; }

template <DType dtype, int kTokens>
void prepare_gemm() {
  static_assert(sizeof(Shared<dtype, kTokens>) <= 227 * 1024);
  allow_shared_memory(gemm_kernel<dtype, kTokens>, sizeof(Shared<dtype, kTokens>));
}

template <DType dtype, int kTokens>
void launch_gemm(Stream& stream, const LinearArgs& args) {
  const auto kernel = gemm_kernel<dtype, kTokens>;
  const GemmGrid grid = make_grid(args, kTokens, kCluster);
  constexpr size_t kSharedBytes = sizeof(Shared<dtype, kTokens>);
  launch_clusters(stream, kernel, kCluster, dim3(std::min(grid.num_tiles(), max_ctas(stream))),
                  dim3(kThreads), kSharedBytes, args, grid);
}

/// Time of a launch: rounds of tiles, one to a multiprocessor, by about what a tile takes: large
/// ones to multiply, small ones to fetch.
int64_t estimate(const Stream& stream, const LinearArgs& args, int32_t tile_tokens) {
  const int32_t tiles = make_grid(args, tile_tokens, kCluster).num_tiles(), ctas = max_ctas(stream);
  return int64_t((tiles + ctas - 1) / ctas) * (kTileRows + tile_tokens);
}

template <DType dtype>
void choose_tokens(Stream& stream, const LinearChoice& choice, const LinearArgs& args) {
  // All of a dtype at a time, so that no live step is the first to load one.
  prepare_gemm<dtype, 64>();
  prepare_gemm<dtype, 128>();
  prepare_gemm<dtype, 256>();
  switch (choice.tile_tokens) {
    case 64: return launch_gemm<dtype, 64>(stream, args);
    case 128: return launch_gemm<dtype, 128>(stream, args);
    case 256: return launch_gemm<dtype, 256>(stream, args);
    default: break;
  }
  const int64_t few = estimate(stream, args, 64), some = estimate(stream, args, 128),
                many = estimate(stream, args, 256);
  if (many <= some && many <= few) return launch_gemm<dtype, 256>(stream, args);
  if (some <= few) return launch_gemm<dtype, 128>(stream, args);
  launch_gemm<dtype, 64>(stream, args);
}

}  // namespace

void linear_gemm_sm90(Stream& stream, const LinearChoice& choice, DType dtype,
                      const LinearArgs& args) {
  if (!stream.is_hopper()) {
    throw Error(
        HEARTH_UNSUPPORTED,
        format("Cannot multiply: this kernel needs code for compute capability 9.0: current "
               "value is %s",
               capability_name(stream.code.compute_capability).c_str()));
  }
  with_format(dtype, [&]<DType kDType>() { choose_tokens<kDType>(stream, choice, args); });
}

}  // namespace hearth::cuda
