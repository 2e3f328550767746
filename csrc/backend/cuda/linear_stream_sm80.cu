// Linear ops for few tokens, from Ampere on: the weights stream through once.
//
//   bytes   rows * cols weights, which is all that counts; the operand is read by every CTA, from
//           L2
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
#include "linear_stream.cuh"

namespace hearth::cuda {
namespace {

// Of a CTA, for so many strips a warp: pairs need more than 128 registers.
constexpr int max_warps(int strips) { return strips == 2 ? 8 : 16; }
constexpr int kStages = 6;

/// kOctets: octets of tokens of a warp. kStrips: 2 where gate and up are made together, else 1.
template <DType dtype, int kOctets, int kStrips>
__global__ void __launch_bounds__(max_warps(kStrips) * 32, 1)
    stream_kernel(const __grid_constant__ LinearArgs args, StreamPlan plan) {
#if __CUDA_ARCH__ >= 800
  using Half = typename HalfOf<dtype>::type;
  extern __shared__ __align__(128) std::byte shared[];

  const int lane = threadIdx.x % 32, token_warp = threadIdx.x / 32 % plan.token_warps;
  const int strip_warp = threadIdx.x / 32 / plan.token_warps;
  const StripRange range = find_range(plan, blockIdx.x);
  const bool is_own = strip_warp < range.count;  // else it is another CTA's
  const Place place = find_place(args, range.first + strip_warp);
  const WeightRef& first_map = args.outputs[place.output].weight;
  const bool has_strip = is_own && place.strip * kStripRows < first_map.rows;
  const int32_t num_stages = first_map.slabs;
  const int32_t padded_rows = round_up(args.rows, 8);
  const int cta_octets = kOctets * plan.token_warps;
  const int32_t octets = padded_rows / 8;

  const std::byte* weights[kStrips];
#pragma unroll
  for (int s = 0; s < kStrips; ++s) {
    weights[s] =
        has_strip ? strip_address(args.outputs[place.output + s].weight, place.strip) : nullptr;
  }
  const std::byte* const operand = static_cast<const std::byte*>(args.x);
  const size_t operand_stride = size_t(padded_rows / 8) * kOctetBytes;  // of 64 columns

  const int operand_at = plan.strip_warps() * kStrips * slab_bytes(dtype);
  const int stage_bytes = operand_at + cta_octets * kOctetBytes;
  const int strips_at = strip_warp * kStrips * slab_bytes(dtype);
  const int octets_at = operand_at + token_warp * kOctets * kOctetBytes;
  const uint32_t ring = shared_address(shared);

  const auto load_weights = [&](int32_t stage) {
    if (stage >= num_stages || !has_strip) return;
    const uint32_t to = ring + stage % kStages * stage_bytes + strips_at;
#pragma unroll
    for (int s = 0; s < kStrips; ++s) {
      const std::byte* from = weights[s] + size_t(stage) * slab_bytes(dtype);
      for (int at = (token_warp * 32 + lane) * 16; at < slab_bytes(dtype);
           at += plan.token_warps * 512) {
        copy_async(to + s * slab_bytes(dtype) + at, from + at);
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
    fragments.load(shared + at + strips_at, slab_bytes(dtype), ring + at + octets_at, lane);
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

  if (!is_own) return;
  const int32_t warp_token = token_warp * kOctets * 8;
  Addends<kOctets, kStrips> addends;
  addends.load(args, place, warp_token, lane);
  store_sums<Half>(args, place, warp_token, lane, sums, addends);
#endif
}

template <DType dtype, int kOctets, int kStrips>
struct StreamSm80 {
  static void run(Stream& stream, const LinearChoice& choice, const LinearArgs& args) {
    StreamPlan plan = count_work(args);
    const int32_t total = plan.num_strips;
    int strip_warps = std::max(choice.strip_warps / kStrips, 1);
    while (strip_warps > 1 && total / strip_warps < stream.num_multiprocessors) strip_warps /= 2;
    plan.cut(divide_up(total, std::min(strip_warps, max_warps(kStrips) / plan.token_warps)), 1);
    const size_t shared_bytes =
        size_t(kStages) * (plan.strip_warps() * kStrips * slab_bytes(dtype) +
                           plan.token_warps * kOctets * kOctetBytes);
    const auto kernel = stream_kernel<dtype, kOctets, kStrips>;
    allow_shared_memory(kernel, shared_bytes);
    launch(stream, kernel, dim3(plan.ctas), dim3(plan.strip_warps() * plan.token_warps * 32),
           shared_bytes, args, plan);
  }
};

}  // namespace

void linear_stream_sm80(Stream& stream, const LinearChoice& choice, DType dtype,
                        const LinearArgs& args) {
  choose_stream<StreamSm80>(stream, choice, dtype, args);
}

}  // namespace hearth::cuda
