// What the two kernels that stream weights share: how a launch is cut, the fragments of 64 columns,
// and where the sums go.
#pragma once

#include <algorithm>

#include "dispatch.h"
#include "fragments.cuh"
#include "linear_epilogue.cuh"
#include "linear_qkv.cuh"
#include "variants.cuh"

namespace hearth::cuda {

inline constexpr int kOctetBytes = 1024;  // of 8 tokens in 64 columns

/// How a launch is cut. Strips of 16 rows (or pairs of them) are counted through all outputs and
/// cut into ctas * rounds ranges, of which none is longer than another by more than a strip.
struct StreamPlan {
  static constexpr int32_t kMaxRanges = 65535;  // find_range() multiplies two of them in 32 bits

  int32_t num_strips;  // of all outputs; an operand's padding takes part
  int32_t ctas;
  int32_t rounds;        // ranges of a CTA, on average
  int32_t range_strips;  // of a range, at least
  int32_t longer;        // so many ranges, spread over all, have a strip more
  int32_t token_warps;   // that share a strip, 8 or 16 tokens each
  int32_t stages;        // of the ring
  int32_t* num_taken;    // ranges beyond every CTA's first; 0 before and after a launch

  constexpr int32_t num_ranges() const { return ctas * rounds; }
  /// Strips of a range, at most.
  constexpr int32_t strip_warps() const { return range_strips + (longer > 0); }
  void cut(int32_t num_ctas, int32_t num_rounds) {
    ctas = num_ctas, rounds = num_rounds;
    if (num_ranges() > kMaxRanges) {
      throw Error(HEARTH_UNSUPPORTED, format("Cannot stream weights in %d ranges: at most %d",
                                             num_ranges(), kMaxRanges));
    }
    range_strips = num_strips / num_ranges(), longer = num_strips % num_ranges();
  }
};

/// Strips (pairs) of an output that warps multiply.
constexpr int32_t count_strips(const LinearArgs& args, int output) {
  const int32_t rows = args.outputs[output].weight.rows;
  return args.has_qkv() ? divide_up(rows, 2 * kStripRows) : divide_up(rows, kStripRows);
}

/// What an op has to cut; how is left to the caller.
inline StreamPlan count_work(const LinearArgs& args) {
  StreamPlan plan = {};
  const int num_outputs = args.has_activation ? 1 : args.num_outputs;
  for (int i = 0; i < num_outputs; ++i) plan.num_strips += count_strips(args, i);
  if (args.out_is_operand) {
    plan.num_strips = round_up(plan.num_strips, kSlabCols / kStripRows);
  }
  plan.token_warps = divide_up(args.rows, 16);
  return plan;
}

/// Strips (pairs) that lie behind one another, counted through all outputs.
struct StripRange {
  int32_t first, count;
};

__device__ __forceinline__ StripRange find_range(const StreamPlan& plan, int32_t range) {
  const uint32_t ranges = plan.num_ranges();
  const int32_t longer = uint32_t(range) * plan.longer / ranges;  // that are ahead
  const int32_t longer_and_own = uint32_t(range + 1) * plan.longer / ranges;
  return {range * plan.range_strips + longer, plan.range_strips + longer_and_own - longer};
}

/// An output and one of its strips (pairs).
struct Place {
  int output;
  int32_t strip;
};

/// Of a strip counted through all outputs. Those beyond are beyond the last output's.
__device__ __forceinline__ Place find_place(const LinearArgs& args, int32_t strip) {
  int output = 0;
  for (; !args.has_activation && output + 1 < args.num_outputs; ++output) {
    const int32_t strips = count_strips(args, output);
    if (strip < strips) break;
    strip -= strips;
  }
  return {output, strip};
}

/// Strip number s of those that a warp takes together: strip `strip` of an output, of up and gate,
/// or of a pair of a head.
__device__ __forceinline__ const std::byte* find_strip(const LinearArgs& args, int output,
                                                       int32_t strip, int s) {
  if (args.has_activation) output += s;
  if (args.has_qkv()) {
    const KvSpec& spec = args.qkv.kv.spec;
    strip = first_strip_of(spec, strip) + s * (head_strips(spec) / 2);
  }
  return strip_address(args.outputs[output].weight, strip);
}

/// What a warp multiplies at a time: 64 columns.
template <DType dtype, int kOctets, int kStrips>
struct Fragments {
  using Half = typename HalfOf<dtype>::type;

  uint32_t a[kStrips][4][4];  // by strip and step of 16 columns
  uint32_t b[4][kOctets][2];

  /// strips: a slab of the warp's strip; that of a pair's other strip lies pair_bytes behind it.
  /// octets: shared address of the first octet.
  __device__ __forceinline__ void load(const std::byte* strips, int pair_bytes, uint32_t octets,
                                       int lane) {
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
        load_matrices(matrices, row + lane / 16 * kOctetBytes + step * 256 + lane / 8 % 2 * 128);
        b[step][0][0] = matrices[0], b[step][0][1] = matrices[1];
        b[step][1][0] = matrices[2], b[step][1][1] = matrices[3];
      }
    }
#pragma unroll
    for (int step = 0; step < 4; ++step) {
#pragma unroll
      for (int s = 0; s < kStrips; ++s) {
        load_fragment<dtype>(strips + s * pair_bytes, step, lane, a[s][step]);
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

/// What a thread adds to its sums, asked for before they are there.
template <int kOctets, int kStrips>
struct Addends {
  float bias[kStrips][2], residual[kOctets][4];

  __device__ __forceinline__ void load(const LinearArgs& args, const Place& place,
                                       int32_t first_token, int lane) {
    const LinearOutput& to = args.outputs[place.output];
    const int32_t rows = to.weight.rows, r = place.strip * kStripRows + lane / 4;
#pragma unroll
    for (int s = 0; s < kStrips; ++s) {
      const float* from = args.outputs[place.output + s].bias;
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        bias[s][i] = from != nullptr && r + i * 8 < rows ? from[r + i * 8] : 0;
      }
    }
    if constexpr (kStrips == 1) {
#pragma unroll
      for (int octet = 0; octet < kOctets; ++octet) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int32_t t = first_token + octet * 8 + lane % 4 * 2 + i % 2;
          const bool is_there = to.residual != nullptr && t < args.rows && r + i / 2 * 8 < rows;
          residual[octet][i] = is_there ? to.residual[size_t(t) * rows + r + i / 2 * 8] : 0;
        }
      }
    }
  }
};

/// Activates a thread's sums and stores them. r: its first row; t: its first token.
template <class Half, int kOctets, int kStrips>
__device__ __forceinline__ void store_gated_sums(const LinearArgs& args, int32_t r, int32_t t,
                                                 const float (&sums)[kStrips][kOctets][4],
                                                 const Addends<kOctets, kStrips>& addends) {
  const auto biased = [&](int s, int i) {
    const float sum = sums[s][i / 4][i % 4];
    return args.outputs[s].bias != nullptr ? __fadd_rn(sum, addends.bias[s][i % 4 / 2]) : sum;
  };
  float values[kOctets * 4];
#pragma unroll
  for (int i = 0; i < kOctets * 4; ++i) values[i] = biased(kStrips - 1, i);
  activate(args.activation, values);
  if constexpr (kStrips == 2) {
#pragma unroll
    for (int i = 0; i < kOctets * 4; ++i) values[i] = __fmul_rn(values[i], biased(0, i));
  }
  const int32_t rows = args.outputs[0].weight.rows;
  // An operand's rows beyond the weight's must be 0.
  const int32_t stored_rows = args.out_is_operand ? round_up(rows, kSlabCols) : rows;
  const auto store_each = [&](auto store) {
#pragma unroll
    for (int i = 0; i < kOctets * 4; ++i) {
      const int row = i % 4 / 2 * 8, token = i / 4 * 8 + i % 2;
      if (t + token < args.rows && r + row < stored_rows) {
        store(token, row, r + row < rows ? values[i] : 0);
      }
    }
  };
  // Of a thread's values none is in another slab of columns: one address serves all.
  if (args.out_is_operand) {
    Half* const to =
        static_cast<Half*>(args.outputs[0].out) + operand_element(t, r, round_up(args.rows, 8));
    store_each([&](int token, int row, float value) {
      to[operand_element(token, row, 0)] = round_one<Half>(value);
    });
  } else {
    float* const to = static_cast<float*>(args.outputs[0].out) + size_t(t) * rows + r;
    store_each([&](int token, int row, float value) { to[size_t(token) * rows + row] = value; });
  }
}

/// A thread's sums to where they belong. first_token: of the warp.
template <class Half, int kOctets, int kStrips>
__device__ __forceinline__ void store_sums(const LinearArgs& args, const Place& place,
                                           int32_t first_token, int lane,
                                           const float (&sums)[kStrips][kOctets][4],
                                           const Addends<kOctets, kStrips>& addends) {
  const int32_t r = place.strip * kStripRows + lane / 4, t = first_token + lane % 4 * 2;
  if (kStrips == 2 || args.has_activation) {
    store_gated_sums<Half>(args, r, t, sums, addends);
    return;
  }
  const LinearOutput& to = args.outputs[place.output];
#pragma unroll
  for (int i = 0; i < kOctets * 4; ++i) {
    const int32_t row = r + i % 4 / 2 * 8, token = t + i / 4 * 8 + i % 2;
    if (token < args.rows && row < to.weight.rows) {
      finish(to, token, row, sums[0][i / 4][i % 4], addends.bias[0][i % 4 / 2],
             addends.residual[i / 4][i % 4]);
    }
  }
}

/// Calls run<dtype, warp_octets, strips>() for a launch; dtypes without tensor cores and more
/// tokens than these kernels are for are refused.
template <template <DType, int, int> class Run, class Args>
void choose_stream(Stream& stream, const LinearChoice& choice, DType dtype, const Args& args) {
  if (args.rows > kMaxStreamTokens) {
    throw Error(HEARTH_UNSUPPORTED, format("Cannot stream weights for %d tokens: at most %d",
                                           args.rows, kMaxStreamTokens));
  }
  const bool is_wide = args.rows > 8;
  const bool is_pair = (args.has_activation && args.num_outputs == 2) || args.has_qkv();
  const auto choose = [&]<DType kType>() {
    if (is_pair) {
      is_wide ? Run<kType, 2, 2>::run(stream, choice, args)
              : Run<kType, 1, 2>::run(stream, choice, args);
    } else {
      is_wide ? Run<kType, 2, 1>::run(stream, choice, args)
              : Run<kType, 1, 1>::run(stream, choice, args);
    }
  };
  with_format(dtype, choose);
}

}  // namespace hearth::cuda
