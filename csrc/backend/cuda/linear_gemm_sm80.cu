// Linear ops for many tokens by mma.sync: for GPUs from Ampere on that are no Hopper.
//
//   flops   2 * rows * cols * tokens
//   bytes   between L2 and the multiprocessors, a tile of 128 rows by 128 tokens: 1 for 64 products
//
// DESIGN
//   Work      A CTA makes a tile (linear_gemm.cuh) with 8 warps, each two strips by 64 tokens: of a
//             gated op a strip of up and that of gate for the same rows: both meet in a lane.
//
//               warp         0    1    2    3         4    5    6    7
//               strips       0 1  2 3  4 5  6 7       0 1  2 3  4 5  6 7      gated: 0 4  1 5 ...
//               tokens       0 .. 63                  64 .. 127
//
//   Ring      kStages stages of 64 columns in shared memory, filled by cp.async; one barrier a
//             stage says both that it has landed for all and that the one before it is free.
//   Registers As in linear_stream_sm80.cu: strips lie as fragments, and quantized ones become fp16
//             on the way; tokens come by ldmatrix. A row's sums are one chain over k.
#include "linear_gemm.cuh"
#include "variants.cuh"

namespace hearth::cuda {
namespace {

constexpr int kTokens = 128;
constexpr int kThreads = 256;
constexpr int kStages = 3;
constexpr int kWarpStrips = 2;
constexpr int kWarpOctets = 8;
constexpr int kOctetBytes = 1024;  // of 8 tokens in 64 columns
constexpr int kOperandBytes = kTokens / 8 * kOctetBytes;

constexpr int stage_bytes(DType dtype) { return kOperandBytes + kTileStrips * slab_bytes(dtype); }

// Two CTAs a multiprocessor where the kernel is at home; on Hopper, where tests alone call it, its
// registers would not do.
#if __CUDA_ARCH__ >= 900
#define HEARTH_GEMM_CTAS 1
#else
#define HEARTH_GEMM_CTAS 2
#endif

template <DType dtype>
__global__ void __launch_bounds__(kThreads, HEARTH_GEMM_CTAS)
    gemm_kernel(const __grid_constant__ LinearArgs args, const __grid_constant__ GemmGrid grid) {
#if __CUDA_ARCH__ >= 800
  using Half = typename HalfOf<dtype>::type;
  constexpr int kStripBytes = slab_bytes(dtype), kStageBytes = stage_bytes(dtype);
  extern __shared__ __align__(128) std::byte shared[];  // stages: operand, then strips

  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const GemmTile tile = find_tile(args, grid, blockIdx.x);
  const int32_t num_slabs = args.outputs[0].weight.slabs;
  const int32_t first_octet = tile.token_tile * (kTokens / 8);
  const int32_t all_octets = round_up(args.rows, 8) / 8;
  const int32_t units = min(kTokens / 8, all_octets - first_octet) * (kOctetBytes / 16);
  const std::byte* const operand =
      static_cast<const std::byte*>(args.x) + size_t(first_octet) * kOctetBytes;
  const std::byte* const strip = tile_strip(args, tile, warp);  // a warp copies one
  const uint32_t ring = shared_address(shared);

  const auto load_stage = [&](int32_t slab) {
    if (slab < num_slabs) {
      const uint32_t to = ring + slab % kStages * kStageBytes;
      const std::byte* const from = operand + size_t(slab) * all_octets * kOctetBytes;
#pragma unroll
      for (int first = 0; first < kOperandBytes / 16; first += kThreads) {
        const int i = first + int(threadIdx.x);
        if (i < units) copy_async(to + i * 16, from + i * 16);
      }
      if (strip != nullptr) {
        const std::byte* const slab_from = strip + size_t(slab) * kStripBytes;
#pragma unroll
        for (int first = 0; first < kStripBytes; first += 512) {
          const int at = first + lane * 16;
          if (at < kStripBytes) {
            copy_async(to + kOperandBytes + warp * kStripBytes + at, slab_from + at);
          }
        }
      }
    }
    commit_copies();
  };

  wait_for_previous();
  for (int32_t slab = 0; slab < kStages - 1; ++slab) load_stage(slab);

  const bool is_gated = has_gate(args);
  // This warp's strips of the tile are first_strip and first_strip + strip_step.
  const int first_strip = is_gated ? warp % 4 : warp % 4 * 2;
  const int strip_step = is_gated ? kTileStrips / 2 : 1;
  const int first_warp_octet = warp / 4 * kWarpOctets;

  float sums[kWarpStrips][kWarpOctets][4] = {};
  for (int32_t slab = 0; slab < num_slabs; ++slab) {
    wait_for_copies<kStages - 2>();
    __syncthreads();
    load_stage(slab + kStages - 1);

    const int offset = slab % kStages * kStageBytes;
    const std::byte* const strips = shared + offset + kOperandBytes + first_strip * kStripBytes;
    // Lane 8 i + r: row r of matrix i; matrices: an octet's two of a step, then the next octet's.
    const uint32_t matrices = ring + offset + (first_warp_octet + lane / 16) * kOctetBytes +
                              lane / 8 % 2 * 128 + lane % 8 * 16;
#pragma unroll
    for (int step = 0; step < kSlabCols / 16; ++step) {
      uint32_t a[kWarpStrips][4];
#pragma unroll
      for (int s = 0; s < kWarpStrips; ++s) {
        load_fragment<dtype>(strips + s * strip_step * kStripBytes, step, lane, a[s]);
      }
#pragma unroll
      for (int octet = 0; octet < kWarpOctets; octet += 2) {
        uint32_t b[4];
        load_matrices(b, matrices + octet * kOctetBytes + step * 256);
#pragma unroll
        for (int s = 0; s < kWarpStrips; ++s) {
          mma<Half>(sums[s][octet], a[s], b[0], b[1]);
          mma<Half>(sums[s][octet + 1], a[s], b[2], b[3]);
        }
      }
    }
  }
  let_next_begin();

  const int32_t first_token = (first_octet + first_warp_octet) * 8;
  if (!args.has_activation) {
#pragma unroll
    for (int s = 0; s < kWarpStrips; ++s) {
      finish_strip<kWarpOctets>(args, args.outputs[tile.output],
                                tile.first_row + (first_strip + s * strip_step) * kStripRows,
                                first_token, lane, sums[s][0]);
    }
    return;
  }
  // Through shared memory, which keeps the activations out of unrolled loops. A thread reads what
  // it wrote itself.
  __syncthreads();  // all have read the last stage
  auto* const staged = reinterpret_cast<float4(*)[kWarpOctets][kThreads]>(shared);
#pragma unroll
  for (int s = 0; s < kWarpStrips; ++s) {
#pragma unroll
    for (int octet = 0; octet < kWarpOctets; ++octet) {
      const float* const four = sums[s][octet];
      staged[s][octet][threadIdx.x] = make_float4(four[0], four[1], four[2], four[3]);
    }
  }
#pragma unroll 1
  for (int i = 0; i < (is_gated ? 1 : kWarpStrips) * kWarpOctets; ++i) {
    const int s = i / kWarpOctets, octet = i % kWarpOctets;
    // Gated rows are those of the first strip, up's; the second one is gate.
    store_gated_octet<Half>(
        args, tile.first_row + (first_strip + s) * kStripRows, first_token + octet * 8, lane,
        staged[is_gated ? 1 : s][octet][threadIdx.x], staged[0][octet][threadIdx.x]);
  }
#endif
}

template <DType dtype>
void launch_gemm(Stream& stream, const LinearArgs& args) {
  const auto kernel = gemm_kernel<dtype>;
  const GemmGrid grid = make_grid(args, kTokens);
  constexpr size_t kStagedBytes = kWarpStrips * kWarpOctets * kThreads * sizeof(float4);
  constexpr size_t kSharedBytes = std::max(size_t(kStages) * stage_bytes(dtype), kStagedBytes);
  static_assert(kSharedBytes <= 99 * 1024);  // of compute capability 8.6
  allow_shared_memory(kernel, kSharedBytes);
  launch(stream, kernel, dim3(grid.num_tiles()), dim3(kThreads), kSharedBytes, args, grid);
}

}  // namespace

void linear_gemm_sm80(Stream& stream, const LinearChoice& /*choice*/, DType dtype,
                      const LinearArgs& args) {
  if (!stream.has_tensor_cores()) {
    throw Error(
        HEARTH_UNSUPPORTED,
        format("Cannot multiply: this kernel needs code for compute capability 8.0: current "
               "value is %s",
               capability_name(stream.code.compute_capability).c_str()));
  }
  with_format(dtype, [&]<DType kDType>() { launch_gemm<kDType>(stream, args); });
}

}  // namespace hearth::cuda
