// Linear ops for few tokens on Hopper: the weights stream through once, at the speed of the memory.
//
//   bytes   rows * cols weights, which is all that counts; the operand is read by every CTA, from
//           L2
//
// DESIGN
//   Work      One CTA a multiprocessor, which takes its share of all strips of 16 rows (pairs: of
//             gate and up, or of a head of q, K or V, see linear_qkv.cuh), the same but for one:
//             so all end together. A warp has a strip over all columns, for 8 or 16 tokens: more
//             tokens are more warps, not longer ones. Where these leave room for few strips, two
//             CTAs share a multiprocessor: chains of products take their time, not the memory.
//   Rounds    Shares that a CTA cannot hold at a time are cut into short ranges. A CTA takes the
//             next one that is left when its copies of the last are asked for, and goes on without
//             a break: multiprocessors do not get the same of the memory, and the memory is faster
//             where all read side by side.
//   Ring      One warp asks for everything by bulk copies: a stage is 128 columns of all strips and
//             of the operand. A warp that multiplies waits for a stage, takes it into registers,
//             gives its place back and multiplies while the next one comes. With one warp a
//             scheduler every instruction counts: computing addresses for cp.async took longer than
//             the products (linear_stream_sm80.cu). A warp without a strip in a round multiplies
//             what lies there, and stores nothing.
//
//               stage   | strip | strip | ... | operand: octets of tokens, twice 64 columns |
//
//             As large as fits: it covers the time until the operand is there, as it is filled with
//             weights before the kernel ahead has ended. But no larger than the op: after short
//             rows the next kernel's ring finds room beside it.
//   Next      The next kernel begins when the last ring of stages, or the last round, is asked for:
//             earlier its copies would delay CTAs that still have many of their own, later
//             multiprocessors without work would wait for the last of them.
//   Bet       The page table answers behind all copies that were asked for, the last kernel's too:
//             of a short op of large shares up to 8 % of its time. There a CTA copies its first
//             ring from where the pages lay when the op was called (LinearOp::guess), and asks the
//             table meanwhile. Nobody reads the ring before the table has agreed. Where a page has
//             moved, these copies are awaited, and asked for once more.
//   L2        Weights are the first to leave it, the operand the last: every CTA reads it.
//   Norm      Of one short row every CTA makes the operand itself, by four warps: a kernel less.
//   Same bits A row's sums are one chain over k, whatever the number of tokens.
#include <type_traits>

#include "eights.cuh"
#include "linear_stream.cuh"
#include "wgmma.cuh"

namespace hearth::cuda {
namespace {

constexpr int kStageSlabs = 2;  // of 64 columns
constexpr int kMaxStages = 24;
constexpr int kBarrierBytes = kMaxStages * 16;  // full, empty
// That multiply, for so many strips a warp: pairs need more than 128 registers.
constexpr int max_warps(int strips) { return strips == 2 ? 7 : 15; }

constexpr int kNormWarps = 4;  // that norm a row, 8 columns a lane

/// Operand bytes of a row that a CTA norms itself.
constexpr int norm_bytes(int32_t slabs) { return slabs * kOctetBytes; }

/// Makes the operand of args.raw in shared memory, by kNormWarps warps: row 0 of an octet, slab by
/// slab, the same bits as norm_operand().
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
  if (first < round_up(cols, kSlabCols)) {
    store_eight<true>(reinterpret_cast<Half*>(operand + first / kSlabCols * kOctetBytes +
                                              first % kSlabCols / kEight * 128),
                      kEight, values);
  }
}

/// What a kernel is for; each that need not choose while it runs begins sooner.
enum class StreamVariant {
  kPlain,
  kBets,  // on where the strips of its only output lie; one round
  kQkv    // pairs are of q, K or V, not of gate and up
};

struct BetPlan : StreamPlan {
  PageGuess guess;
};

template <StreamVariant variant>
using PlanOf = std::conditional_t<variant == StreamVariant::kBets, BetPlan, StreamPlan>;

template <DType dtype, int kOctets, int kStrips, StreamVariant variant>
__global__ void __launch_bounds__((max_warps(kStrips) + 1) * 32, 1)
    stream_sm90_kernel(const __grid_constant__ LinearArgs args, PlanOf<variant> plan) {
#if HEARTH_HOPPER
  using Half = typename HalfOf<dtype>::type;
  constexpr int kStripStage = kStageSlabs * slab_bytes(dtype);
  constexpr bool kIsQkv = variant == StreamVariant::kQkv, kBets = variant == StreamVariant::kBets;
  extern __shared__ __align__(128) std::byte shared[];
  __shared__ int32_t ranges[kMaxStages];  // of a round's first stage
  __shared__ uint64_t verdict_barrier;    // of the bet
  __shared__ int first_parity;            // of the barriers of the ring that it was on

  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int num_warps = plan.strip_warps() * plan.token_warps;  // that multiply
  const int32_t num_slabs = args.outputs[0].weight.slabs;
  const int32_t num_stages = divide_up(num_slabs, kStageSlabs);  // of a round
  const int cta_octets = kOctets * plan.token_warps;
  const int operand_at = plan.strip_warps() * kStrips * kStripStage;
  const int operand_slab = cta_octets * kOctetBytes;
  const int stage_bytes = operand_at + kStageSlabs * operand_slab;
  const uint32_t full = shared_address(shared), empty = full + kMaxStages * 8;
  const bool norms = args.raw != nullptr;
  const int ring_at = kBarrierBytes + (norms ? norm_bytes(num_slabs) : 0);
  const uint32_t ring = full + ring_at, verdict = shared_address(&verdict_barrier);

  if (threadIdx.x == 0) {
    for (int i = 0; i < plan.stages; ++i) {
      barrier_init(full + i * 8, 1);
      barrier_init(empty + i * 8, num_warps * kWarpArrivals);
    }
    if constexpr (kBets) barrier_init(verdict, 1);
    fence_barrier_init();
  }
  __syncthreads();

  if (warp == int(blockDim.x) / 32 - 1) {
    // Lane i copies strip i of a round (of pairs: one and its other, then the next), two the
    // operand.
    const std::byte* weights = nullptr;
    const std::byte *guessed = nullptr, *found = nullptr;  // pages; found: what the table says
    bool has_strip = false;
    int strips = 0;
    const auto begin_range = [&](int32_t range) {
      const StripRange own = find_range(plan, range);
      const Place place = find_place(args, own.first + lane / kStrips);
      has_strip = lane / kStrips < own.count && place.strip < count_strips(args, place.output);
      if constexpr (kBets) {
        // Nothing is made of the table's answer here, or this would wait for it.
        const WeightRef& weight = args.outputs[0].weight;
        const StripPlace in = strip_place(weight, place.strip);
        if (has_strip) found = weight.pages[in.page], guessed = plan.guess.page(in.page);
        weights = guessed + in.offset;
      } else {
        if (has_strip) weights = find_strip(args, place.output, place.strip, lane % kStrips);
      }
      strips = __popc(__ballot_sync(0xffffffff, has_strip));
    };
    const int32_t padded_rows = round_up(args.rows, 8);
    const int octets = norms ? 0 : padded_rows / 8;
    const size_t operand_stride = size_t(padded_rows / 8) * kOctetBytes;
    const std::byte* const operand = static_cast<const std::byte*>(args.x);
    const uint64_t first_out = evict_first(), last_out = evict_last();

    const auto announce = [&](int slot, int32_t stage) {
      const int slabs = min(kStageSlabs, num_slabs - stage * kStageSlabs);
      if (lane == 0) {
        barrier_arrive_expect(full + slot * 8,
                              slabs * (strips * slab_bytes(dtype) + octets * kOctetBytes));
      }
      __syncwarp();
      if (has_strip) {
        copy_bulk(ring + slot * stage_bytes + lane * kStripStage,
                  weights + size_t(stage) * kStripStage, slabs * slab_bytes(dtype), full + slot * 8,
                  first_out);
      }
    };
    const auto copy_operand = [&](int slot, int32_t stage) {
      const int32_t slab = stage * kStageSlabs + lane;
      if (lane < kStageSlabs && slab < num_slabs && !norms) {
        copy_bulk(ring + slot * stage_bytes + operand_at + lane * operand_slab,
                  operand + size_t(slab) * operand_stride, octets * kOctetBytes, full + slot * 8,
                  last_out);
      }
    };
    int32_t taken = 0;  // by lane 0, in its own time
    const auto take_range = [&] {
      if (plan.rounds == 1 || lane > 0) return;
      taken = plan.ctas + atomicAdd(plan.num_taken, 1);
      // Every CTA asks once in vain: the last to do so leaves it as it was.
      if (taken == plan.num_ranges() + plan.ctas - 1) *plan.num_taken = 0;
    };
    const int32_t last_ring = num_stages - plan.stages;
    begin_range(blockIdx.x);
    const int ahead = min(plan.stages, num_stages);
    for (int i = 0; i < ahead; ++i) announce(i, i);
    if (plan.rounds == 1 && ahead >= last_ring) let_next_begin();
    wait_for_previous();
    for (int i = 0; i < ahead; ++i) copy_operand(i, i);
    if constexpr (kBets) {
      const bool is_lost = __any_sync(0xffffffff, guessed != found);
      if (is_lost) {
        for (int i = 0; i < ahead; ++i) barrier_wait(full + i * 8, 0);
        weights += found - guessed;
        for (int i = 0; i < ahead; ++i) announce(i, i), copy_operand(i, i);
      }
      if (lane == 0) {
        first_parity = is_lost;
        barrier_arrive(verdict);
      }
    }
    int32_t stage = ahead;  // the next one of a range
    if (stage == num_stages) take_range();
    int slot = ahead, parity = 1;
    while (plan.rounds > 1 || stage < num_stages) {
      if (slot == plan.stages) slot = 0, parity ^= 1;
      if (plan.rounds == 1 && stage == last_ring) let_next_begin();
      barrier_wait(empty + slot * 8, parity);
      if (stage == num_stages) {
        const int32_t next = __shfl_sync(0xffffffff, taken, 0);
        if (lane == 0) ranges[slot] = next;
        if (next >= plan.num_ranges()) {
          if (lane == 0) barrier_arrive(full + slot * 8);
          break;
        }
        begin_range(next);
        stage = 0;
        if (next >= plan.num_ranges() - plan.ctas) let_next_begin();
      }
      announce(slot, stage);
      copy_operand(slot, stage);
      if (++stage == num_stages) take_range();
      ++slot;
    }
    return;
  }

  const int token_warp = warp % plan.token_warps, strip_warp = warp / plan.token_warps;
  const int32_t warp_token = token_warp * kOctets * 8;
  const std::byte* strips = shared + ring_at + strip_warp * kStrips * kStripStage;
  // Where the operand of a stage lies: in its place of the ring, or in that of all of it.
  const uint32_t octets =
      norms ? full + kBarrierBytes : ring + operand_at + token_warp * kOctets * kOctetBytes;
  int slot = 0, parity = 0;
  int32_t range = blockIdx.x;
  for (bool is_first = true;; is_first = false) {
    const StripRange own = find_range(plan, range);
    const Place place = find_place(args, own.first + strip_warp);
    std::conditional_t<kIsQkv, QkvRows<kOctets>, Addends<kOctets, kStrips>> epilogue;
    if constexpr (kIsQkv) epilogue.place(args, place.output, place.strip, warp_token, lane);
    if (norms && is_first) {
      if (warp < kNormWarps) norm_raw<Half>(args, shared + kBarrierBytes);
      named_barrier_sync(2, blockDim.x - 32);  // all but the warp that copies
      if (warp >= num_warps) return;
    }
    wait_for_previous();
    if constexpr (kIsQkv) {
      epilogue.load_angles(args);
    } else {
      epilogue.load(args, place, warp_token, lane);
    }

    if constexpr (kBets) {
      barrier_wait(verdict, 0);
      parity = first_parity;
    }
    float sums[kStrips][kOctets][4] = {};
    Fragments<dtype, kOctets, kStrips> even, odd;
    for (int32_t stage = 0; stage < num_stages; ++stage) {
      barrier_wait(full + slot * 8, parity);
      const int at = slot * stage_bytes;
      const uint32_t here = octets + (norms ? stage * kStageSlabs * kOctetBytes : at);
      even.load(strips + at, kStripStage, here, lane);
      if (stage > 0) odd.multiply(sums);
      // Beyond the last slab lies what an earlier stage left, or nothing: it is not multiplied.
      odd.load(strips + at + slab_bytes(dtype), kStripStage, here + operand_slab, lane);
      barrier_arrive_warp(empty + slot * 8);
      even.multiply(sums);
      if (++slot == plan.stages) slot = 0, parity ^= 1;
    }
    if (num_slabs % kStageSlabs == 0) odd.multiply(sums);

    if (strip_warp < own.count) {
      if constexpr (kIsQkv) {
        epilogue.store(args, sums);
      } else {
        store_sums<Half>(args, place, warp_token, lane, sums, epilogue);
      }
    }
    if (plan.rounds == 1) return;
    barrier_wait(full + slot * 8, parity);
    range = ranges[slot];
    if (range >= plan.num_ranges()) return;
  }
#endif
}

template <DType dtype, int kOctets, int kStrips>
struct StreamSm90 {
  static void run(Stream& stream, const LinearChoice& choice, const LinearOp& args) {
    const int32_t num_multiprocessors = stream.num_multiprocessors;
    StreamPlan plan = count_work(args);
    const int32_t held = max_warps(kStrips) / plan.token_warps;  // strips of a CTA at a time
    const int32_t wanted = divide_up(plan.num_strips, num_multiprocessors * held);
    const int32_t ctas_each = plan.token_warps == 1 ? 1 : std::min(wanted, choice.max_ctas_each);
    const int32_t strips_bytes = kStrips * args.outputs[0].weight.strip_bytes;
    int32_t most_strips = held;  // of a range
    if (plan.token_warps == 1 && wanted > 1) {
      most_strips = std::clamp(divide_up(choice.range_bytes, strips_bytes),
                               divide_up(choice.range_strips, kStrips), held);
    }
    const int32_t ctas = std::min(plan.num_strips, num_multiprocessors * ctas_each);
    plan.cut(ctas, divide_up(plan.num_strips, ctas * most_strips));
    plan.num_taken = stream.counter.data<int32_t>();

    const int32_t stage_bytes = kStageSlabs * (plan.strip_warps() * kStrips * slab_bytes(dtype) +
                                               plan.token_warps * kOctets * kOctetBytes);
    const int32_t num_slabs = args.outputs[0].weight.slabs;
    plan.stages = std::max(
        1, std::min({choice.ring_bytes / ctas_each / stage_bytes, kMaxStages,
                     plan.rounds * divide_up(num_slabs, kStageSlabs)}));  // whatever a tuner writes
    const bool norms = args.raw != nullptr;
    const size_t shared_bytes =
        kBarrierBytes + size_t(plan.stages) * stage_bytes + (norms ? norm_bytes(num_slabs) : 0);
    const int warps = std::max(plan.strip_warps() * plan.token_warps, norms ? kNormWarps : 1);
    const auto launch_kernel = [&](auto kernel, const auto& cut) {
      allow_shared_memory(kernel, shared_bytes);
      launch(stream, kernel, dim3(cut.ctas), dim3((warps + 1) * 32), shared_bytes, args, cut);
    };
    if constexpr (kStrips == 2) {
      if (args.has_qkv()) {
        launch_kernel(stream_sm90_kernel<dtype, kOctets, kStrips, StreamVariant::kQkv>, plan);
        return;
      }
    } else {
      // More tokens make the table's answer a smaller part of the op.
      if (plan.rounds == 1 && plan.token_warps == 1 && args.guess.first != nullptr &&
          ctas_each * plan.strip_warps() * strips_bytes > choice.bet_bytes) {
        launch_kernel(stream_sm90_kernel<dtype, kOctets, kStrips, StreamVariant::kBets>,
                      BetPlan{plan, args.guess});
        return;
      }
    }
    launch_kernel(stream_sm90_kernel<dtype, kOctets, kStrips, StreamVariant::kPlain>, plan);
  }
};

}  // namespace

void linear_stream_sm90(Stream& stream, const LinearChoice& choice, DType dtype,
                        const LinearOp& op) {
  choose_stream<StreamSm90>(stream, choice, dtype, op);
}

}  // namespace hearth::cuda
