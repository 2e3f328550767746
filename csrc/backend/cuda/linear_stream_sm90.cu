// Linear ops for few tokens on Hopper: the weights stream through once, at the speed of the memory.
//
//   bytes   rows * cols weights, which is all that counts; the operand is read by every CTA, from
//           L2
//
// DESIGN
//   Work      As many strips of 16 rows (pairs of strips, gate and up, where they are gated) a CTA
//             as leave one CTA for each multiprocessor, so that all run at once and share the
//             memory's bandwidth. A warp has a strip over all columns, for 8 or 16 tokens: more
//             tokens are more warps, not longer ones.
//   Ring      One warp asks for everything by bulk copies: a stage is 128 columns of all strips and
//             of the operand. A warp that multiplies waits for a stage, takes it into registers,
//             gives its place back and multiplies while the next one comes. With one warp a
//             scheduler every instruction counts: computing addresses for cp.async took longer than
//             the products (linear_stream_sm80.cu).
//
//   Norm      Of one short row every CTA makes the operand itself, by four warps: a kernel less.
//
//               stage   | strip | strip | ... | operand: octets of tokens, twice 64 columns |
//
//             The ring is filled with weights before the kernel ahead has ended, and so large that
//             this covers the time until the operand is there, but leaves room for the next
//   kernel's. Same bits A row's sums are one chain over k, whatever the number of tokens.
#include "eights.cuh"
#include "linear_stream.cuh"
#include "wgmma.cuh"

namespace hearth::cuda {
namespace {

constexpr int kStageBlocks = 2;        // of 64 columns
constexpr int kRingBytes = 104 << 10;  // of a multiprocessor
constexpr int kMaxStages = 24;
constexpr int kBarrierBytes = kMaxStages * 16;  // full, empty
// That multiply, for so many strips a warp: pairs need more than 128 registers.
constexpr int max_warps(int strips) { return strips == 2 ? 7 : 15; }

constexpr int kNormWarps = 4;  // that norm a row, 8 columns a lane

/// Operand bytes of a row that a CTA norms itself.
constexpr int norm_bytes(int32_t blocks) { return blocks * kOctetBytes; }

/// Makes the operand of args.raw in shared memory, by kNormWarps warps: row 0 of an octet, block by
/// block, the same bits as norm_operand().
template <class Half>
__device__ __forceinline__ void norm_raw(const LinearArgs& args, std::byte* operand) {
  __shared__ float sums[2][kNormWarps];
  const int first = threadIdx.x * kEight, cols = args.cols;
  const NormView& norm = args.norm;
  const bool has_norm = norm.kind != NormKind::kNone, has_bias = has_norm && norm.bias != nullptr;
  const float inverse = 1 / float(cols);
  float values[kEight], weight[kEight], bias[kEight];
  load_eight<true>(norm.weight + first, has_norm ? cols - first : 0, weight);
  load_eight<true>(norm.bias + first, has_bias ? cols - first : 0, bias);
  wait_for_previous();
  load_eight<true>(args.raw + first, cols - first, values);

  const auto add_threads = [&](float value, float(&by_warp)[kNormWarps]) {
    value = add_lanes(value, 32);
    if (threadIdx.x % 32 == 0) by_warp[threadIdx.x / 32] = value;
    named_barrier_sync(1, kNormWarps * 32);
    return (by_warp[0] + by_warp[1]) + (by_warp[2] + by_warp[3]);
  };
  float mean = 0;
  if (norm.kind == NormKind::kLayer) mean = add_threads(add_eight(values), sums[0]) * inverse;
  if (has_norm) {
    const float variance = add_threads(add_squares(values, cols - first, mean), sums[1]) * inverse;
    apply_norm(values, mean, rsqrtf(variance + norm.eps), weight, bias);
  }
  if (first < round_up(cols, kBlockCols)) {
    store_eight<true>(reinterpret_cast<Half*>(operand + first / kBlockCols * kOctetBytes +
                                              first % kBlockCols / kEight * 128),
                      kEight, values);
  }
}

template <DType dtype, int kOctets, int kStrips>
__global__ void __launch_bounds__((max_warps(kStrips) + 1) * 32, 1)
    stream_sm90_kernel(const __grid_constant__ LinearArgs args, StreamPlan plan) {
#if HEARTH_HOPPER
  using Half = typename HalfOf<dtype>::type;
  constexpr int kStripStage = kStageBlocks * block_bytes(dtype);
  extern __shared__ __align__(128) std::byte shared[];

  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int num_warps = plan.strip_warps * plan.groups;  // that multiply
  const Place place = find_place(args, blockIdx.x, plan.strip_warps);
  const StripMap& first_map = args.outputs[place.output].weight;
  const int32_t num_strips = (first_map.rows + kStripRows - 1) / kStripRows;
  const int32_t num_blocks = first_map.blocks;
  const int32_t num_stages = (num_blocks + kStageBlocks - 1) / kStageBlocks;
  const int32_t first_token = blockIdx.y * kStreamTokens;
  const int cta_octets = kOctets * plan.groups;
  const int operand_at = plan.strip_warps * kStrips * kStripStage;
  const int operand_block = cta_octets * kOctetBytes;
  const int stage_bytes = operand_at + kStageBlocks * operand_block;
  const uint32_t full = shared_address(shared), empty = full + kMaxStages * 8;
  const bool norms = args.raw != nullptr;
  const int ring_at = kBarrierBytes + (norms ? norm_bytes(num_blocks) : 0);
  const uint32_t ring = full + ring_at;

  if (threadIdx.x == 0) {
    for (int i = 0; i < plan.stages; ++i) {
      barrier_init(full + i * 8, 1);
      barrier_init(empty + i * 8, num_warps);
    }
    fence_barrier_init();
  }
  __syncthreads();
  let_next_begin();

  if (warp == int(blockDim.x) / 32 - 1) {
    // Lane i copies strip i (of gate, then of up's pair), two more the operand.
    const int own = min(plan.strip_warps, max(num_strips - place.first_strip, 0));
    const int strips = own * kStrips;
    const std::byte* weights = nullptr;
    if (lane < strips) {
      weights = strip_address(args.outputs[place.output + lane % kStrips].weight,
                              place.first_strip + lane / kStrips);
    }
    const int32_t padded_rows = round_up(args.rows, 8);
    const int octets = norms ? 0 : min(cta_octets, (padded_rows - first_token) / 8);
    const size_t operand_stride = size_t(padded_rows / 8) * kOctetBytes;
    const std::byte* const operand =
        static_cast<const std::byte*>(args.x) + size_t(first_token / 8) * kOctetBytes;

    const auto announce = [&](int32_t stage, int slot) {
      const int blocks = min(kStageBlocks, num_blocks - stage * kStageBlocks);
      if (lane == 0) {
        barrier_arrive_expect(full + slot * 8,
                              blocks * (strips * block_bytes(dtype) + octets * kOctetBytes));
      }
      __syncwarp();
      if (lane < strips) {
        copy_bulk(ring + slot * stage_bytes + lane * kStripStage,
                  weights + size_t(stage) * kStripStage, blocks * block_bytes(dtype),
                  full + slot * 8);
      }
    };
    const auto copy_operand = [&](int32_t stage, int slot) {
      const int32_t block = stage * kStageBlocks + lane;
      if (lane < kStageBlocks && block < num_blocks && !norms) {
        copy_bulk(ring + slot * stage_bytes + operand_at + lane * operand_block,
                  operand + size_t(block) * operand_stride, octets * kOctetBytes, full + slot * 8);
      }
    };
    const int32_t ahead = min(plan.stages, num_stages);
    for (int32_t stage = 0; stage < ahead; ++stage) announce(stage, stage);
    wait_for_previous();
    for (int32_t stage = 0; stage < ahead; ++stage) copy_operand(stage, stage);
    int slot = 0, parity = 0;
    for (int32_t stage = ahead; stage < num_stages; ++stage) {
      barrier_wait(empty + slot * 8, parity);
      announce(stage, slot);
      copy_operand(stage, slot);
      if (++slot == plan.stages) slot = 0, parity ^= 1;
    }
    return;
  }

  const int group = warp % plan.groups, strip_warp = warp / plan.groups;
  const int32_t strip = place.first_strip + strip_warp;
  if (norms) {
    if (warp < kNormWarps) norm_raw<Half>(args, shared + kBarrierBytes);
    named_barrier_sync(2, blockDim.x - 32);  // all but the warp that copies
    if (warp >= num_warps) return;
  }
  const std::byte* strips = shared + ring_at + strip_warp * kStrips * kStripStage;
  // Where the operand of a stage lies: in its place of the ring, or in that of all of it.
  const uint32_t octets =
      norms ? full + kBarrierBytes : ring + operand_at + group * kOctets * kOctetBytes;
  float sums[kStrips][kOctets][4] = {};
  Fragments<dtype, kOctets, kStrips> even, odd;
  Addends<kOctets> addends;
  const int32_t warp_token = first_token + group * kOctets * 8;
  wait_for_previous();
  if (!args.has_activation) addends.load(args, place.output, strip, warp_token, lane);

  int slot = 0, parity = 0;
  for (int32_t stage = 0; stage < num_stages; ++stage) {
    barrier_wait(full + slot * 8, parity);
    const int at = slot * stage_bytes;
    const uint32_t here = octets + (norms ? stage * kStageBlocks * kOctetBytes : at);
    even.load(strips + at, kStripStage, here, lane);
    if (stage > 0) odd.multiply(sums);
    // Beyond the last block lies what an earlier stage left, or nothing: it is not multiplied.
    odd.load(strips + at + block_bytes(dtype), kStripStage, here + operand_block, lane);
    __syncwarp();
    if (lane == 0) barrier_arrive(empty + slot * 8);
    even.multiply(sums);
    if (++slot == plan.stages) slot = 0, parity ^= 1;
  }
  if (num_blocks % kStageBlocks == 0) odd.multiply(sums);

  store_sums<Half>(args, place.output, strip, warp_token, lane, sums, addends);
#endif
}

template <DType dtype, int kOctets, int kStrips>
struct StreamSm90 {
  static void run(Stream& stream, const LinearArgs& args) {
    const int32_t total = count_strips(args);
    int strip_warps = (total + stream.num_multiprocessors - 1) / stream.num_multiprocessors;
    // Beyond what a CTA can have, more CTAs than multiprocessors.
    if (strip_warps > max_warps(kStrips)) strip_warps = max_warps(kStrips) / 2 + 1;
    StreamPlan plan = plan_stream(args, strip_warps, max_warps(kStrips));
    const int32_t ctas_each =
        std::min((plan.ctas + stream.num_multiprocessors - 1) / stream.num_multiprocessors, 3);
    const int32_t stage_bytes = kStageBlocks * (plan.strip_warps * kStrips * block_bytes(dtype) +
                                                plan.groups * kOctets * kOctetBytes);
    plan.stages = std::clamp(kRingBytes / ctas_each / stage_bytes, 2, kMaxStages);
    const bool norms = args.raw != nullptr;
    const size_t shared_bytes = kBarrierBytes + size_t(plan.stages) * stage_bytes +
                                (norms ? norm_bytes(args.outputs[0].weight.blocks) : 0);
    const auto kernel = stream_sm90_kernel<dtype, kOctets, kStrips>;
    allow_shared_memory(kernel, shared_bytes);
    const dim3 grid(plan.ctas, (args.rows + kStreamTokens - 1) / kStreamTokens);
    const int warps = std::max(plan.strip_warps * plan.groups, norms ? kNormWarps : 1);
    launch(stream, kernel, grid, dim3((warps + 1) * 32), shared_bytes, args, plan);
  }
};

}  // namespace

void linear_stream_sm90(Stream& stream, DType dtype, const LinearArgs& args) {
  choose_stream<StreamSm90>(stream, dtype, args);
}

}  // namespace hearth::cuda
