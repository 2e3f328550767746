// What the two kernels that stream weights share: how a launch is cut, the fragments of 64 columns,
// and where the sums go.
#pragma once

#include <algorithm>

#include "fragments.cuh"
#include "linear_epilogue.cuh"

namespace hearth::cuda {

inline constexpr int kStreamTokens = 64;  // of a CTA
inline constexpr int kOctetBytes = 1024;  // of 8 tokens in 64 columns

/// How a launch is cut.
struct StreamPlan {
  int32_t strip_warps;  // strips of 16 rows (or pairs of them) of a CTA
  int32_t groups;       // of tokens, a warp each for every strip
  int32_t warp_octets;  // octets of tokens of a group: 1 or 2
  int32_t ctas;         // for the weights; times the tokens beyond 64
  int32_t stages;       // of the ring
};

/// Cuts the strips of all outputs over CTAs of up to max_strip_warps strips and max_warps warps. An
/// operand's padding takes part. Leaves `stages` to the caller.
inline StreamPlan plan_stream(const LinearArgs& args, int max_strip_warps, int max_warps) {
  StreamPlan plan = {};
  const int octets = std::min(kStreamTokens, round_up(args.rows, 8)) / 8;
  plan.warp_octets = octets > 1 ? 2 : 1;
  plan.groups = (octets + plan.warp_octets - 1) / plan.warp_octets;
  plan.strip_warps = std::max(1, std::min(max_strip_warps, max_warps / plan.groups));
  const int num_outputs = args.has_activation ? 1 : args.num_outputs;
  for (int i = 0; i < num_outputs; ++i) {
    const int32_t rows = args.outputs[i].weight.rows;
    const int32_t strips =
        round_up(rows, args.out_is_operand ? kBlockCols : kStripRows) / kStripRows;
    plan.ctas += (strips + plan.strip_warps - 1) / plan.strip_warps;
  }
  return plan;
}

/// Strips (pairs) of all outputs.
inline int32_t count_strips(const LinearArgs& args) { return plan_stream(args, 1, 1).ctas; }

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

/// What a warp multiplies at a time: 64 columns.
template <DType dtype, int kOctets, int kStrips>
struct Fragments {
  using Half = typename HalfOf<dtype>::type;

  uint32_t a[kStrips][4][4];  // by strip and step of 16 columns
  uint32_t b[4][kOctets][2];

  /// strips: a block of the warp's strip; that of a pair's other strip lies pair_bytes behind it.
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
template <int kOctets>
struct Addends {
  float bias[2], residual[kOctets][4];

  __device__ __forceinline__ void load(const LinearArgs& args, int output, int32_t strip,
                                       int32_t first_token, int lane) {
    const LinearOutput& to = args.outputs[output];
    const int32_t rows = to.weight.rows, r = strip * kStripRows + lane / 4;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      bias[i] = to.bias != nullptr && r + i * 8 < rows ? to.bias[r + i * 8] : 0;
    }
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
};

/// A thread's sums to where they belong. first_token: of the warp.
template <class Half, int kOctets, int kStrips>
__device__ __forceinline__ void store_sums(const LinearArgs& args, int output, int32_t strip,
                                           int32_t first_token, int lane,
                                           const float (&sums)[kStrips][kOctets][4],
                                           const Addends<kOctets>& addends) {
#pragma unroll
  for (int octet = 0; octet < kOctets; ++octet) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int32_t t = first_token + octet * 8 + lane % 4 * 2 + i % 2;
      const int32_t r = strip * kStripRows + lane / 4 + i / 2 * 8;
      if (t >= args.rows) continue;
      if (args.has_activation) {
        const int32_t rows = args.outputs[0].weight.rows;
        if (r >= (args.out_is_operand ? round_up(rows, kBlockCols) : rows)) continue;
        const float value =
            r < rows ? gated_value(args, r, sums[0][octet][i], sums[kStrips - 1][octet][i]) : 0;
        store_gated<Half>(args, t, r, value);
      } else if (r < args.outputs[output].weight.rows) {
        finish(args.outputs[output], t, r, sums[0][octet][i], addends.bias[i / 2],
               addends.residual[octet][i]);
      }
    }
  }
}

/// Calls run<dtype, warp_octets, strips>() for a launch; dtypes without tensor cores are refused.
template <template <DType, int, int> class Run>
void choose_stream(Stream& stream, DType dtype, const LinearArgs& args) {
  const bool is_wide = args.rows > 8;  // as plan_stream() has it
  const bool is_pair = args.has_activation && args.num_outputs == 2;
  const auto choose = [&]<DType kType>() {
    if (is_pair) {
      is_wide ? Run<kType, 2, 2>::run(stream, args) : Run<kType, 1, 2>::run(stream, args);
    } else {
      is_wide ? Run<kType, 2, 1>::run(stream, args) : Run<kType, 1, 1>::run(stream, args);
    }
  };
  switch (dtype) {
    case DType::kF16: return choose.template operator()<DType::kF16>();
    case DType::kBF16: return choose.template operator()<DType::kBF16>();
    case DType::kQ8_0: return choose.template operator()<DType::kQ8_0>();
    case DType::kQ4_0: return choose.template operator()<DType::kQ4_0>();
    case DType::kQ4_1: return choose.template operator()<DType::kQ4_1>();
    default:
      throw Error(HEARTH_UNSUPPORTED,
                  format("Cannot multiply: no tensor-core kernel for dtype %u", unsigned(dtype)));
  }
}

}  // namespace hearth::cuda
