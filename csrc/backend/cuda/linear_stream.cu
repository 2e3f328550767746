// Linear ops for few tokens: the weights stream through once, at the speed of the memory.
//
//   bytes   rows * cols weights, which is all that counts; the operand is read by every CTA, from L2
//
// DESIGN
//   Work      A CTA has 1 to 8 strips of 16 rows (pairs of strips, gate and up, where they are
//             gated), as few as leave a CTA for each multiprocessor, so that all are resident at
//             once and share the memory's bandwidth. A warp has a strip over all columns, for 8 or
//             16 tokens: more tokens are more warps, not longer ones.
//   Ring      kStages stages in shared memory, filled by cp.async: a stage is 64 columns of all
//             strips and of the operand.
//
//               stage   | strip | strip | ... | operand: octets of tokens |
//
//             One barrier a stage says both that it has landed for all and that the one before it
//             is free: its fragments are in registers already, and multiplied while the next ones
//             are on their way there. A stage then takes as long as its four dependent products.
//             The ring is filled with weights before the kernel ahead has ended.
//   Registers Weights are the A operand of mma.m16n8k16 and lie in memory as its fragments; tokens
//             are B, eight to an mma, by ldmatrix.
//   Same bits A row's sums are one chain over k, whatever the number of tokens.
#include <algorithm>

#include "fragments.cuh"
#include "linear_epilogue.cuh"

namespace hearth::cuda {
namespace {

constexpr int kMaxTokens = 64;  // of a CTA
// Of a CTA, for so many strips a warp: pairs need more than 128 registers.
constexpr int max_warps(int strips) { return strips == 2 ? 8 : 16; }
constexpr int kOctetBytes = 1024;  // of 8 tokens in 64 columns
constexpr int kManyStages = 12, kFewStages = 6;
constexpr int kSharedBytes = 200 << 10;  // of a multiprocessor, that rings may fill

/// How a launch is cut.
struct StreamPlan {
  int32_t strip_warps;  // strips (or pairs) of a CTA
  int32_t groups;       // of tokens, a warp each for every strip
};

/// Where a CTA works: its output and the first of its strips.
struct Place {
  int output;
  int32_t first_strip;
};

__device__ __forceinline__ Place find_place(const LinearArgs& args, int32_t cta, int strip_warps) {
  int output = 0;
  if (!args.has_activation) {
    for (;; ++output) {
      const int32_t strips = (args.outputs[output].weight.rows + kStripRows - 1) / kStripRows;
      const int32_t ctas = (strips + strip_warps - 1) / strip_warps;
      if (cta < ctas || output + 1 == args.num_outputs) break;
      cta -= ctas;
    }
  }
  return {output, cta * strip_warps};
}

/// What a warp multiplies at a stage.
template <DType dtype, int kOctets, int kStrips>
struct Fragments {
  using Half = typename HalfOf<dtype>::type;

  uint32_t a[kStrips][4][4];  // by strip and step of 16 columns
  uint32_t b[4][kOctets][2];

  /// strips: the first of the warp's blocks. octets: shared address of its first octet.
  __device__ __forceinline__ void load(const std::byte* strips, uint32_t octets, int lane) {
    const uint32_t row = octets + lane % 8 * 16;
    if constexpr (kOctets == 1) {
      // Matrix lane / 8 of four octets of columns: two steps.
#pragma unroll
      for (int step = 0; step < 4; step += 2) {
        uint32_t matrices[4];
        load_matrices(matrices, row + step * 256 + lane / 8 * 128);
        b[step][0][0] = matrices[0], b[step][0][1] = matrices[1];
        b[step + 1][0][0] = matrices[2], b[step + 1][0][1] = matrices[3];
      }
    } else {
      static_assert(kOctets == 2);
      // A step's two matrices of an octet, then those of the octet behind it.
#pragma unroll
      for (int step = 0; step < 4; ++step) {
        uint32_t matrices[4];
        load_matrices(matrices,
                      row + lane / 16 * kOctetBytes + step * 256 + lane / 8 % 2 * 128);
        b[step][0][0] = matrices[0], b[step][0][1] = matrices[1];
        b[step][1][0] = matrices[2], b[step][1][1] = matrices[3];
      }
    }
#pragma unroll
    for (int step = 0; step < 4; ++step) {
#pragma unroll
      for (int s = 0; s < kStrips; ++s) {
        load_fragment<dtype>(strips + s * block_bytes(dtype), step, lane, a[s][step]);
      }
    }
  }

  __device__ __forceinline__ void multiply(float (&sums)[kStrips][kOctets][4]) const {
#pragma unroll
    for (int step = 0; step < 4; ++step) {
#pragma unroll
      for (int s = 0; s < kStrips; ++s) {
#pragma unroll
        for (int octet = 0; octet < kOctets; ++octet) {
          mma<Half>(sums[s][octet], a[s][step], b[step][octet][0], b[step][octet][1]);
        }
      }
    }
  }
};

/// kOctets: octets of tokens of a warp. kStrips: 2 where gate and up are made together, else 1.
template <DType dtype, int kOctets, int kStrips, int kStages>
__global__ void __launch_bounds__(max_warps(kStrips) * 32, 1)
    stream_kernel(const __grid_constant__ LinearArgs args, StreamPlan plan) {
#if __CUDA_ARCH__ >= 800
  using Half = typename HalfOf<dtype>::type;
  extern __shared__ __align__(128) std::byte shared[];

  const int lane = threadIdx.x % 32, group = threadIdx.x / 32 % plan.groups;
  const int strip_warp = threadIdx.x / 32 / plan.groups;
  const Place place = find_place(args, blockIdx.x, plan.strip_warps);
  const int32_t strip = place.first_strip + strip_warp;
  const StripMap& first_map = args.outputs[place.output].weight;
  const bool has_strip = strip * kStripRows < first_map.rows;
  const int32_t num_stages = first_map.blocks;
  const int32_t padded_rows = round_up(args.rows, 8);
  const int32_t first_token = blockIdx.y * kMaxTokens;
  const int cta_octets = kOctets * plan.groups;
  const int32_t octets = min(cta_octets, (padded_rows - first_token) / 8);

  const std::byte* weights[kStrips];
#pragma unroll
  for (int s = 0; s < kStrips; ++s) {
    weights[s] = has_strip ? strip_address(args.outputs[place.output + s].weight, strip) : nullptr;
  }
  const std::byte* const operand =
      static_cast<const std::byte*>(args.x) + size_t(first_token / 8) * kOctetBytes;
  const size_t operand_stride = size_t(padded_rows / 8) * kOctetBytes;  // of 64 columns

  const int operand_at = plan.strip_warps * kStrips * block_bytes(dtype);
  const int stage_bytes = operand_at + cta_octets * kOctetBytes;
  const int strips_at = strip_warp * kStrips * block_bytes(dtype);
  const int octets_at = operand_at + group * kOctets * kOctetBytes;
  const uint32_t ring = shared_address(shared);

  const auto load_weights = [&](int32_t stage) {
    if (stage >= num_stages || !has_strip) return;
    const uint32_t to = ring + stage % kStages * stage_bytes + strips_at;
#pragma unroll
    for (int s = 0; s < kStrips; ++s) {
      const std::byte* from = weights[s] + size_t(stage) * block_bytes(dtype);
      for (int at = (group * 32 + lane) * 16; at < block_bytes(dtype); at += plan.groups * 512) {
        copy_async(to + s * block_bytes(dtype) + at, from + at);
      }
    }
  };
  const auto load_operand = [&](int32_t stage) {
    if (stage >= num_stages) return;
    const uint32_t to = ring + stage % kStages * stage_bytes + operand_at;
    const std::byte* from = operand + size_t(stage) * operand_stride;
    for (int at = threadIdx.x * 16; at < octets * kOctetBytes; at += blockDim.x * 16) {
      copy_async(to + at, from + at);
    }
  };

  for (int32_t stage = 0; stage < kStages - 1; ++stage) load_weights(stage);
  let_next_begin();
  wait_for_previous();
  for (int32_t stage = 0; stage < kStages - 1; ++stage) {
    load_operand(stage);
    commit_copies();
  }

  // A stage has landed; the one before it is in registers everywhere, and its place is free.
  const auto load_stage = [&](int32_t stage, Fragments<dtype, kOctets, kStrips>& fragments) {
    wait_for_copies<kStages - 2>();
    __syncthreads();
    load_weights(stage + kStages - 1);
    load_operand(stage + kStages - 1);
    commit_copies();
    const int at = stage % kStages * stage_bytes;
    fragments.load(shared + at + strips_at, ring + at + octets_at, lane);
  };
  float sums[kStrips][kOctets][4] = {};
  Fragments<dtype, kOctets, kStrips> even, odd;
  load_stage(0, even);
  int32_t stage = 1;
  for (; stage + 1 < num_stages; stage += 2) {
    load_stage(stage, odd);
    even.multiply(sums);
    load_stage(stage + 1, even);
    odd.multiply(sums);
  }
  if (stage < num_stages) {
    load_stage(stage, odd);
    even.multiply(sums);
    odd.multiply(sums);
  } else {
    even.multiply(sums);
  }

#pragma unroll
  for (int octet = 0; octet < kOctets; ++octet) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int32_t t = first_token + (group * kOctets + octet) * 8 + lane % 4 * 2 + i % 2;
      const int32_t r = strip * kStripRows + lane / 4 + i / 2 * 8;
      if (t >= args.rows) continue;
      if (args.has_activation) {
        const int32_t rows = args.outputs[0].weight.rows;
        if (r >= (args.out_is_operand ? round_up(rows, kBlockCols) : rows)) continue;
        const float value =
            r < rows ? gated_value(args, r, sums[0][octet][i], sums[kStrips - 1][octet][i]) : 0;
        store_gated<Half>(args, t, r, value);
      } else if (r < args.outputs[place.output].weight.rows) {
        finish(args.outputs[place.output], t, r, sums[0][octet][i]);
      }
    }
  }
#endif
}

template <DType dtype, int kOctets, int kStrips, int kStages>
void launch_stages(Stream& stream, const LinearArgs& args, const StreamPlan& plan, int32_t ctas) {
  const size_t shared_bytes = size_t(kStages) * (plan.strip_warps * kStrips * block_bytes(dtype) +
                                                 plan.groups * kOctets * kOctetBytes);
  const auto kernel = stream_kernel<dtype, kOctets, kStrips, kStages>;
  allow_shared_memory(kernel, shared_bytes);
  const dim3 grid(ctas, (args.rows + kMaxTokens - 1) / kMaxTokens);
  launch(stream, kernel, grid, dim3(plan.strip_warps * plan.groups * 32), shared_bytes, args, plan);
}

template <DType dtype, int kOctets, int kStrips>
void launch_stream(Stream& stream, const LinearArgs& args, const StreamPlan& plan, int32_t ctas) {
  // More stages where they still leave all CTAs resident at once.
  const int32_t per_multiprocessor =
      (ctas + stream.num_multiprocessors - 1) / stream.num_multiprocessors;
  const int32_t stage_bytes = plan.strip_warps * kStrips * block_bytes(dtype) +
                              plan.groups * kOctets * kOctetBytes;
  if (kManyStages * stage_bytes * per_multiprocessor <= kSharedBytes) {
    launch_stages<dtype, kOctets, kStrips, kManyStages>(stream, args, plan, ctas);
  } else {
    launch_stages<dtype, kOctets, kStrips, kFewStages>(stream, args, plan, ctas);
  }
}

template <DType dtype, int kStrips>
void plan_stream(Stream& stream, const LinearArgs& args) {
  const int octets = std::min(kMaxTokens, round_up(args.rows, 8)) / 8;
  const int warp_octets = octets > 4 ? 2 : 1;
  StreamPlan plan;
  plan.groups = (octets + warp_octets - 1) / warp_octets;

  // Strips of each output; an operand's padding takes part.
  int32_t strips[LinearArgs::kMaxOutputs];
  int32_t total = 0;
  const int num_outputs = args.has_activation ? 1 : args.num_outputs;
  for (int i = 0; i < num_outputs; ++i) {
    const int32_t rows = args.outputs[i].weight.rows;
    strips[i] = round_up(rows, args.out_is_operand ? kBlockCols : kStripRows) / kStripRows;
    total += strips[i];
  }
  plan.strip_warps = 8 / kStrips;
  while (plan.strip_warps > 1 && (total / plan.strip_warps < stream.num_multiprocessors ||
                                  plan.strip_warps * plan.groups > max_warps(kStrips))) {
    plan.strip_warps /= 2;
  }
  int32_t ctas = 0;
  for (int i = 0; i < num_outputs; ++i) {
    ctas += (strips[i] + plan.strip_warps - 1) / plan.strip_warps;
  }
  if (warp_octets == 1) {
    launch_stream<dtype, 1, kStrips>(stream, args, plan, ctas);
  } else {
    launch_stream<dtype, 2, kStrips>(stream, args, plan, ctas);
  }
}

template <DType dtype>
void choose_strips(Stream& stream, const LinearArgs& args) {
  if (args.has_activation && args.num_outputs == 2) {
    plan_stream<dtype, 2>(stream, args);
  } else {
    plan_stream<dtype, 1>(stream, args);
  }
}

}  // namespace

void linear_stream(Stream& stream, DType dtype, const LinearArgs& args) {
  switch (dtype) {
    case DType::kF16: return choose_strips<DType::kF16>(stream, args);
    case DType::kBF16: return choose_strips<DType::kBF16>(stream, args);
    case DType::kQ8_0: return choose_strips<DType::kQ8_0>(stream, args);
    case DType::kQ4_0: return choose_strips<DType::kQ4_0>(stream, args);
    case DType::kQ4_1: return choose_strips<DType::kQ4_1>(stream, args);
    default:
      throw Error(HEARTH_UNSUPPORTED,
                  format("Cannot multiply: no tensor-core kernel for dtype %u", unsigned(dtype)));
  }
}

}  // namespace hearth::cuda
