// DESIGN
//   A CTA takes a row of logits and draws its sample rows one after the other, so that it may write
//   a sequence's edits (bans, biases, penalties) into the row and take them back afterwards. As on
//   the CPU, a row is a few passes over the vocabulary and never a sort of it:
//
//     scan     the best token, and whether all logits are finite: greedy is this alone
//     select   the last token that top_k or top_p leaves: a histogram finds the bin of logits it is
//              in, then the few tokens of that bin are compared with each other
//     draw     sums of weights of 32 stretches of tokens find the stretch of the drawn one; again,
//              until that is 32 tokens long
//
//   Weights   integers, in units of 2^-44 of the best token's: sums are exact. So they do not
//             depend on the order of additions, and no rounding sets a sum apart from the sum of
//             its parts.
//   Keys      (logit, id) as one integer, larger is better: ties go to the lowest id by themselves.
#include "sample_kernel.h"

#include <numbers>

#include "../philox.h"
#include "ptx.cuh"

namespace hearth::cuda {
namespace {

constexpr int kThreads = 1024, kWarps = kThreads / 32;
constexpr int kBatch = 8;        // loads in flight of a thread
constexpr int kBins = kThreads;  // of a histogram
constexpr int kList = kThreads;  // tokens that are compared with each other
constexpr int kDigitBits = 10;   // of a key, for a bin
constexpr float kBinsPerLogit = 32;
constexpr float kLog2E = std::numbers::log2e_v<float>;
constexpr float kLeastTemperature = 1e-5f;  // below: greedy
constexpr float kUnits = 0x1p44f;           // weight of the best token
constexpr uint32_t kAllLanes = 0xffffffff;

static_assert(kWarps == 32 && kBins == 1 << kDigitBits, "a lane a warp, a thread a bin");

struct Shared {
  uint64_t bins[kBins];  // of a histogram; or keys of a list
  uint64_t weights[kList];
  uint64_t of_warps[kWarps];
  uint64_t cut;
  double log_sum;
  int32_t first_sample, end_sample;
  uint32_t num_listed;
};

// ------------------------------------------------------------------------------------- numbers

__device__ __forceinline__ uint64_t key_of(float logit, uint32_t id) {
  const uint32_t bits = __float_as_uint(logit + 0.f);  // -0 becomes 0
  const uint32_t ordered = bits ^ (bits >> 31 != 0 ? 0xffffffff : 0x80000000);
  return uint64_t(ordered) << 32 | ~id;
}
__device__ __forceinline__ float logit_of(uint64_t key) {
  const uint32_t ordered = uint32_t(key >> 32);
  return __uint_as_float(ordered ^ (ordered >> 31 != 0 ? 0x80000000 : 0xffffffff));
}
__device__ __forceinline__ uint32_t id_of(uint64_t key) { return ~uint32_t(key); }

/// What a token counts: its weight where its key is `cut` at least, or 1.
struct Measure {
  bool counts_tokens;
  float peak;   // the largest logit
  float scale;  // of logits, in octaves
  float min_p;
  uint64_t cut;

  __device__ __forceinline__ uint64_t operator()(float logit, uint32_t id) const {
    if (counts_tokens) return logit > -INFINITY ? 1 : 0;
    const float weight = exp2_approximate((logit - peak) * scale);
    if (weight < min_p || key_of(logit, id) < cut) return 0;
    return __float2ull_rn(weight * kUnits);
  }
};

// ------------------------------------------------------------------------------- lanes, threads

__device__ __forceinline__ int warp_index() { return threadIdx.x / 32; }
__device__ __forceinline__ int lane_index() { return threadIdx.x % 32; }

__device__ __forceinline__ uint64_t largest_lane(uint64_t value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    const uint64_t other = __shfl_xor_sync(kAllLanes, value, distance);
    if (other > value) value = other;
  }
  return value;
}

/// Lane i gets what warp i gives (its lanes the same), in every warp.
__device__ __forceinline__ uint64_t exchange(Shared& shared, uint64_t value) {
  __syncthreads();
  if (lane_index() == 0) shared.of_warps[warp_index()] = value;
  __syncthreads();
  return shared.of_warps[lane_index()];
}

struct Place {
  int32_t index;
  uint64_t before;  // the sum of the values ahead of it
};

/// The first lane whose value makes the sum exceed `wanted`, which the sum of all does.
__device__ __forceinline__ Place locate(uint64_t value, uint64_t wanted) {
  uint64_t sum = value;
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const uint64_t other = __shfl_up_sync(kAllLanes, sum, distance);
    if (lane_index() >= distance) sum += other;
  }
  const int lane = __ffs(__ballot_sync(kAllLanes, sum > wanted)) - 1;
  return {lane, __shfl_sync(kAllLanes, sum - value, lane)};
}

/// Adds to 64 bits in shared memory, where 32 at a time are quick.
__device__ __forceinline__ void add_shared(uint64_t& to, uint64_t value) {
  auto* const halves = reinterpret_cast<uint32_t*>(&to);
  const uint32_t low = uint32_t(value), before = atomicAdd(halves, low);
  const uint32_t high = uint32_t(value >> 32) + (before + low < low ? 1 : 0);
  if (high != 0) atomicAdd(halves + 1, high);
}

/// visit(logit, id) for ids first, first + kStride, ... below end; and for some beyond, as if
/// banned: a batch of loads is always a whole one.
template <int kStride, class Visit>
__device__ __forceinline__ void for_tokens(const float* logits, int32_t first, int32_t end,
                                           Visit&& visit) {
  for (; first < end; first += kBatch * kStride) {
    float batch[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int32_t id = first + i * kStride;
      batch[i] = id < end ? logits[id] : -INFINITY;
    }
#pragma unroll
    for (int i = 0; i < kBatch; ++i) visit(batch[i], uint32_t(first + i * kStride));
  }
}

// ----------------------------------------------------------------------------------------- scan

struct Scan {
  uint64_t best;  // key
  bool is_finite;
};

__device__ __forceinline__ Scan scan(Shared& shared, const float* logits, int32_t vocab) {
  float peak = -INFINITY, zero = 0;
  int32_t id_of_peak = 0, first = threadIdx.x;
  float batch[kBatch];
  const auto take = [&](float logit, int32_t id) {
    zero = fmaf(logit, 0, zero);  // NaN once a logit is not finite
    if (logit > peak) {
      peak = logit;
      id_of_peak = id;
    }
  };
  for (; first + (kBatch - 1) * kThreads < vocab; first += kBatch * kThreads) {
#pragma unroll
    for (int i = 0; i < kBatch; ++i) batch[i] = logits[first + i * kThreads];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) take(batch[i], first + i * kThreads);
  }
  // The rest. Beyond it the last token again, which changes nothing.
  const auto id_of_rest = [&](int i) { return min(first + i * kThreads, vocab - 1); };
#pragma unroll
  for (int i = 0; i < kBatch; ++i) batch[i] = logits[id_of_rest(i)];
#pragma unroll
  for (int i = 0; i < kBatch; ++i) take(batch[i], id_of_rest(i));
  const bool is_finite = __syncthreads_and(zero == 0);
  const uint64_t best = exchange(shared, largest_lane(key_of(peak, uint32_t(id_of_peak))));
  return {largest_lane(best), is_finite};
}

// --------------------------------------------------------------------------------------- select

/// The bin of shared.bins at which the sum exceeds `wanted`. sums: of 32 bins each.
__device__ __forceinline__ Place locate_bin(const Shared& shared, uint64_t sums, uint64_t wanted) {
  const Place group = locate(sums, wanted);
  const Place bin = locate(shared.bins[group.index * 32 + lane_index()], wanted - group.before);
  return {group.index * 32 + bin.index, group.before + bin.before};
}

/// The key of the token at which the sum of `measure`, taken from the best token down, exceeds
/// target(sum of all). Some token must count.
template <class Target>
__device__ __forceinline__ uint64_t select(Shared& shared, const float* logits, int32_t vocab,
                                           const Measure& measure, Target&& target) {
  // Bins of equal width below the peak: the floats' own bits would put most tokens into a few.
  const auto bin_of = [&](float logit) {
    return int(fminf((measure.peak - logit) * kBinsPerLogit, float(kBins - 1)));
  };
  __syncthreads();
  shared.bins[threadIdx.x] = 0;
  __syncthreads();
  uint64_t rest = 0;  // of the last bin, which may be of many
  for_tokens<kThreads>(logits, threadIdx.x, vocab, [&](float logit, uint32_t id) {
    const uint64_t value = measure(logit, id);
    const int bin = bin_of(logit);
    if (bin == kBins - 1) {
      rest += value;
    } else if (value > 0) {
      add_shared(shared.bins[bin], value);
    }
  });
  rest = add_lanes(rest);
  if (lane_index() == 0) add_shared(shared.bins[kBins - 1], rest);
  __syncthreads();
  uint64_t sums = exchange(shared, add_lanes(shared.bins[threadIdx.x]));
  uint64_t wanted = target(add_lanes(sums));
  const Place level = locate_bin(shared, sums, wanted);
  wanted -= level.before;

  // Candidates: tokens of the bin with keys of low to high. Where they are too many for the list, a
  // digit of their keys tells them apart; the last one does, since it leaves 16 keys.
  uint64_t low = 0, high = ~uint64_t(0);
#pragma unroll 1
  for (int shift = 64 - kDigitBits;; shift -= kDigitBits) {
    __syncthreads();
    if (threadIdx.x == 0) shared.num_listed = 0;
    __syncthreads();
    const auto for_candidates = [&](auto&& visit) {
      for_tokens<kThreads>(logits, threadIdx.x, vocab, [&](float logit, uint32_t id) {
        if (bin_of(logit) != level.index) return;
        const uint64_t key = key_of(logit, id);
        if (key < low || key > high) return;
        const uint64_t value = measure(logit, id);
        if (value > 0) visit(key, value);
      });
    };
    for_candidates([&](uint64_t key, uint64_t value) {
      const uint32_t at = atomicAdd(&shared.num_listed, 1);
      if (at >= kList) return;
      shared.bins[at] = key;
      shared.weights[at] = value;
    });
    __syncthreads();
    if (shared.num_listed <= kList) break;

    shared.bins[threadIdx.x] = 0;
    __syncthreads();
    for_candidates([&](uint64_t key, uint64_t value) {
      add_shared(shared.bins[kBins - 1 - (key >> shift) % kBins], value);
    });
    __syncthreads();
    sums = exchange(shared, add_lanes(shared.bins[threadIdx.x]));
    const Place digit = locate_bin(shared, sums, wanted);
    wanted -= digit.before;
    low |= uint64_t(kBins - 1 - digit.index) << shift;
    high = low | ((uint64_t(1) << shift) - 1);
  }

  if (threadIdx.x < shared.num_listed) {
    const uint64_t key = shared.bins[threadIdx.x];
    uint64_t before = 0;
    for (uint32_t i = 0; i < shared.num_listed; ++i) {
      if (shared.bins[i] > key) before += shared.weights[i];
    }
    if (before <= wanted && wanted - before < shared.weights[threadIdx.x]) shared.cut = key;
  }
  __syncthreads();
  return shared.cut;
}

/// The key of the k-th best token; of the last one that is not banned where they are fewer.
__device__ __noinline__ uint64_t select_top_k(Shared& shared, const float* logits, int32_t vocab,
                                              float peak, uint32_t k) {
  const Measure measure{true, peak, 0, 0, 0};
  return select(shared, logits, vocab, measure,
                [&](uint64_t num_tokens) { return (num_tokens < k ? num_tokens : k) - 1; });
}

/// The key of the last token of the smallest set of best ones whose share of the weight is top_p.
__device__ __noinline__ uint64_t select_top_p(Shared& shared, const float* logits, int32_t vocab,
                                              Measure measure, float top_p) {
  return select(shared, logits, vocab, measure, [&](uint64_t total) {
    const uint64_t wanted = uint64_t(ceil(double(top_p) * double(total)));
    return wanted == 0 ? 0 : (wanted < total ? wanted : total) - 1;
  });
}

// ----------------------------------------------------------------------------------------- draw

/// The first token, ids ascending, at which the sum of the weights exceeds its share `noise` of
/// all.
__device__ __forceinline__ uint32_t draw_by_weight(Shared& shared, const float* logits,
                                                   int32_t vocab, const Measure& measure,
                                                   double noise) {
  int32_t begin = 0, end = vocab, stretch;
  uint64_t wanted = 0;
  do {
    stretch = ((end - begin + kWarps - 1) / kWarps + 31) / 32 * 32;
    const int32_t first = begin + warp_index() * stretch;
    uint64_t sum = 0;
    for_tokens<32>(logits, first + lane_index(), min(first + stretch, end),
                   [&](float logit, uint32_t id) { sum += measure(logit, id); });
    const uint64_t sums = exchange(shared, add_lanes(sum));
    if (begin == 0 && end == vocab) {
      // noise is of 53 bits: its product with 2^64 is exact.
      wanted = __umul64hi(uint64_t(noise * 0x1p64), add_lanes(sums));
    }
    const Place place = locate(sums, wanted);
    wanted -= place.before;
    begin += place.index * stretch;
    end = min(begin + stretch, end);
  } while (stretch > 32);
  const int32_t id = begin + lane_index();
  return begin + locate(id < end ? measure(logits[id], id) : 0, wanted).index;
}

__device__ __forceinline__ uint32_t draw_edited(Shared& shared, const float* logits, int32_t vocab,
                                                uint64_t best, const SamplerSlot& sampler,
                                                uint32_t output_index) {
  const float peak = logit_of(best);
  if (peak == -INFINITY) return 0;  // every token is banned
  if (sampler.temperature < kLeastTemperature) return id_of(best);
  Measure measure{false, peak, kLog2E / sampler.temperature, sampler.min_p, 0};
  if (sampler.top_k > 0 && sampler.top_k < uint32_t(vocab)) {
    measure.cut = select_top_k(shared, logits, vocab, peak, sampler.top_k);
  }
  if (sampler.top_p < 1) measure.cut = select_top_p(shared, logits, vocab, measure, sampler.top_p);
  const double noise = sampling_noise(sampler.seed, sampler.sequence, output_index);
  return draw_by_weight(shared, logits, vocab, measure, noise);
}

// ---------------------------------------------------------------------------------------- edits

__device__ __forceinline__ bool ends_in(const uint32_t* recent, uint32_t num_recent,
                                        uint32_t num_output, const uint32_t* ids, uint32_t length) {
  if (length > num_output) return false;
  for (uint32_t i = 0; i < length; ++i) {
    if (recent[(num_output - length + i) % num_recent] != ids[i]) return false;
  }
  return true;
}

/// Bans, biases and penalties, in that order, into the row.
__device__ __forceinline__ void edit(float* logits, int32_t vocab, const SamplerSlot& sampler,
                                     uint32_t output_index) {
  __syncthreads();
  const SamplerHistory& history = *sampler.history;
  const bool bans_stops = output_index < sampler.min_tokens;
  for (uint32_t i = threadIdx.x; i < history.num_edits; i += kThreads) {
    TokenEdit& edit = sampler.edits[i];
    if (edit.token >= uint32_t(vocab)) continue;
    float logit = edit.raw = logits[edit.token];
    logit += edit.is_stop && bans_stops ? -INFINITY : edit.bias;
    if (edit.seen > 0) {
      const float penalty = sampler.repetition_penalty;
      logit = logit > 0 ? logit / penalty : logit * penalty;
    }
    if (edit.seen > 1) {
      logit -= sampler.frequency_penalty * float(edit.seen - 1) + sampler.presence_penalty;
    }
    logits[edit.token] = logit;
  }
  if (sampler.num_words == 0) return;
  __syncthreads();
  // What banned a token before leaves it banned: this may come last.
  const auto* const recent = reinterpret_cast<const uint32_t*>(sampler.history + 1);
  const auto* const words = reinterpret_cast<const BadWord*>(recent + sampler.num_recent);
  const auto* const ids = reinterpret_cast<const uint32_t*>(words + sampler.num_words);
  for (uint32_t i = threadIdx.x; i < sampler.num_words; i += kThreads) {
    const BadWord word = words[i];
    if (word.token < uint32_t(vocab) &&
        ends_in(recent, sampler.num_recent, history.num_output, ids + word.first, word.length)) {
      logits[word.token] = -INFINITY;
    }
  }
}

__device__ __forceinline__ void undo_edits(float* logits, int32_t vocab,
                                           const SamplerSlot& sampler) {
  __syncthreads();
  for (uint32_t i = threadIdx.x; i < sampler.history->num_edits; i += kThreads) {
    const TokenEdit& edit = sampler.edits[i];
    if (edit.token < uint32_t(vocab)) logits[edit.token] = edit.raw;
  }
}

/// A token was drawn.
__device__ __forceinline__ void remember(const SamplerSlot& sampler, uint32_t token) {
  SamplerHistory& history = *sampler.history;
  if (sampler.num_recent > 0 && threadIdx.x == 0) {
    auto* const recent = reinterpret_cast<uint32_t*>(sampler.history + 1);
    recent[history.num_output++ % sampler.num_recent] = token;
  }
  if (!sampler.remembers_tokens) return;
  bool is_known = false;
  for (uint32_t i = threadIdx.x; i < history.num_edits; i += kThreads) {
    TokenEdit& edit = sampler.edits[i];
    if (edit.token != token) continue;
    edit.seen = (edit.seen > 0 ? edit.seen : 1) + 1;
    is_known = true;
  }
  if (!__syncthreads_or(is_known) && threadIdx.x == 0) {
    sampler.edits[history.num_edits++] = {token, 0, 0, 2, 0};
  }
}

__device__ __forceinline__ uint32_t draw(Shared& shared, float* logits, int32_t vocab,
                                         uint64_t best, const SamplerSlot& sampler,
                                         uint32_t output_index) {
  const bool is_edited = output_index < sampler.edited_until;
  if (is_edited) {
    edit(logits, vocab, sampler, output_index);
    __syncthreads();
    best = scan(shared, logits, vocab).best;
  }
  const uint32_t token = draw_edited(shared, logits, vocab, best, sampler, output_index);
  if (is_edited) {
    undo_edits(logits, vocab, sampler);
    remember(sampler, token);
    __syncthreads();
  }
  return token;
}

// ------------------------------------------------------------------------------------- logprobs

__device__ __forceinline__ float logprob(const Shared& shared, float logit) {
  return float(double(logit) - shared.log_sum);
}

/// log(sum of exp(logit)) into shared.log_sum.
__device__ __forceinline__ void sum_exponentials(Shared& shared, const float* logits, int32_t vocab,
                                                 float peak) {
  const Measure measure{false, peak, kLog2E, 0, 0};
  uint64_t sum = 0;
  for_tokens<kThreads>(logits, threadIdx.x, vocab,
                       [&](float logit, uint32_t id) { sum += measure(logit, id); });
  sum = add_lanes(exchange(shared, add_lanes(sum)));
  if (threadIdx.x == 0) shared.log_sum = double(peak) + log(double(sum) / double(kUnits));
  __syncthreads();
}

/// The `count` best tokens, in order. count: 1 to min(vocab, kMaxLogprobs).
__device__ __forceinline__ void list_best(Shared& shared, const float* logits, int32_t vocab,
                                          float peak, uint32_t count, hearth_token_logprob* top) {
  const uint64_t cut = select_top_k(shared, logits, vocab, peak, count);
  if (threadIdx.x == 0) shared.num_listed = 0;
  __syncthreads();
  for_tokens<kThreads>(logits, threadIdx.x, vocab, [&](float logit, uint32_t id) {
    const uint64_t key = key_of(logit, id);
    if (key >= cut) shared.bins[atomicAdd(&shared.num_listed, 1)] = key;
  });
  __syncthreads();
  if (threadIdx.x >= count) return;
  const uint64_t key = shared.bins[threadIdx.x];
  uint32_t rank = 0;
  for (uint32_t i = 0; i < count; ++i) rank += shared.bins[i] > key ? 1 : 0;
  top[rank] = {id_of(key), logprob(shared, logit_of(key))};
}

// --------------------------------------------------------------------------------------- kernel

/// The sample rows of a row of logits: shared.first_sample to end_sample, or none.
__device__ __forceinline__ void find_samples(Shared& shared, const StepView& step, int32_t row) {
  if (threadIdx.x == 0) {
    shared.first_sample = step.num_samples;
    shared.end_sample = 0;
  }
  __syncthreads();
#pragma unroll 1
  for (int32_t i = threadIdx.x; i < step.num_samples; i += kThreads) {
    const SampleRow& sample = step.samples[i];
    const bool is_padding = sample.sampler < 0 && sample.target < 0;
    if (sample.logits_row != row || is_padding) continue;
    atomicMin(&shared.first_sample, i);
    atomicMax(&shared.end_sample, i + 1);
  }
  __syncthreads();
}

__global__ void __launch_bounds__(kThreads) sample_kernel(const __grid_constant__ SampleArgs args) {
  __shared__ Shared shared;
  wait_for_previous();
  let_next_begin();
  find_samples(shared, args.step, args.first_row + blockIdx.x);
  const int32_t first = shared.first_sample, end = shared.end_sample;
  if (first >= end) return;

  const int32_t vocab = args.vocab;
  float* const logits = args.logits + size_t(blockIdx.x) * vocab;
  const auto [best, is_finite] = scan(shared, logits, vocab);
  bool is_summed = false;
  for (int32_t i = first; i < end; ++i) {
    const SampleRow sample = args.step.samples[i];
    DeviceSample& result = args.results[i];
    if (!is_finite) {
      if (threadIdx.x == 0) {
        result.token = result.num_top = 0;
        result.logprob = 0;
        result.not_finite = 1;
        if (sample.target < 0) args.step.drawn[i] = 0;  // the next step may be under way with it
      }
      continue;
    }
    uint32_t token = uint32_t(sample.target);
    if (sample.target < 0) {
      token = draw(shared, logits, vocab, best, args.slots[sample.sampler],
                   uint32_t(sample.output_index));
      if (threadIdx.x == 0) args.step.drawn[i] = int32_t(token);
    }
    const bool is_scored = sample.num_logprobs >= 0;
    const uint32_t num_top = uint32_t(max(min(min(sample.num_logprobs, vocab), kMaxLogprobs), 0));
    if (is_scored && !is_summed) {
      sum_exponentials(shared, logits, vocab, logit_of(best));
      is_summed = true;
    }
    if (num_top > 0) list_best(shared, logits, vocab, logit_of(best), num_top, result.top);
    if (threadIdx.x == 0) {
      result.token = token;
      result.logprob = is_scored ? logprob(shared, logits[token]) : NAN;
      result.num_top = num_top;
      result.not_finite = 0;
    }
  }
}

}  // namespace

void launch_sample(Stream& stream, const SampleArgs& args, int32_t num_rows) {
  launch(stream, sample_kernel, dim3(num_rows), dim3(kThreads), 0, args);
}

}  // namespace hearth::cuda
