// What the kernels for many tokens share: the order of their tiles and what becomes of the sums.
//
// DESIGN
//   Tiles    kTileRows rows of one weight by some tokens; of a gated op half the rows are up's,
//            half gate's. Tiles that run beside one another share both weights and tokens: a band
//            of tokens goes through all weights, row tile by row tile, then the next. Bands are
//            equal, and so large that what runs at once is about as many rows as tokens: that is
//            the least to come from memory, and L2 has to keep only what lies between the columns
//            of the first multiprocessor and those of the last. Sums and residuals, which are used
//            once, may go first.
//
//              row tiles    0  0  0  0   1  1  1  1   2 ...
//              token tiles  0  1  2  3   0  1  2  3   0 ...     of a band
//
//            A cluster of CTAs makes as many row tiles of one output, side by side, for the same
//            tokens. Outputs that end before have tiles beyond their last row: nothing to load or
//            store, but the cluster's tokens to copy.
//
//              row tiles    0 1  0 1  0 1  0 1   2 3 ...        of clusters of 2
//              token tiles  0 0  1 1  2 2  3 3   0 0 ...
//
//   Sums     As mma.m16n8k16 leaves them: of a strip and an octet of tokens a lane g * 4 + t has
//            rows g, g + 8 of tokens 2t, 2t + 1. Floats are stored as they lie, eight rows (a
//            sector of 32 bytes) of four tokens at once; operands are transposed, a core matrix
//            (128 bytes) at once.
#pragma once

#include <algorithm>

#include "fragments.cuh"
#include "linear_epilogue.cuh"

namespace hearth::cuda {

inline constexpr int kTileRows = 128;
inline constexpr int kTileStrips = kTileRows / kStripRows;
inline constexpr int32_t kBandTokens = 2048;  // 132 tiles of 128 rows by 256 tokens: 2112 rows

/// Whether tiles hold up and gate.
constexpr bool has_gate(const LinearArgs& args) {
  return args.has_activation && args.num_outputs == 2;
}

/// Row tiles of one output, for all of its rows and those that pad an operand, and so many that
/// clusters of CTAs have one each.
constexpr int32_t output_tiles(const LinearArgs& args, int output, int32_t cluster) {
  const int32_t rows = has_gate(args) ? kTileRows / 2 : kTileRows;
  return round_up((args.outputs[output].weight.rows + rows - 1) / rows, cluster);
}

/// The tiles of a launch. Those of a cluster are neighbours, the first a multiple of its size.
struct GemmGrid {
  int32_t cluster;
  int32_t row_tiles;
  int32_t token_tiles;
  int32_t band;  // token tiles of one

  constexpr int32_t num_tiles() const { return row_tiles * token_tiles; }
};

inline GemmGrid make_grid(const LinearArgs& args, int32_t tile_tokens, int32_t cluster = 1) {
  GemmGrid grid = {};
  grid.cluster = cluster;
  const int num_outputs = args.has_activation ? 1 : args.num_outputs;
  for (int i = 0; i < num_outputs; ++i) grid.row_tiles += output_tiles(args, i, cluster);
  grid.token_tiles = (args.rows + tile_tokens - 1) / tile_tokens;
  const int32_t most = kBandTokens / tile_tokens;
  const int32_t bands = std::max(1, (grid.token_tiles + most - 1) / most);
  grid.band = (grid.token_tiles + bands - 1) / bands;
  return grid;
}

struct GemmTile {
  int output;
  int32_t first_row;  // of the output, and of its gate
  int32_t token_tile;
};

__device__ __forceinline__ GemmTile find_tile(const LinearArgs& args, const GemmGrid& grid,
                                              int32_t index) {
  const int32_t cluster = grid.cluster;
  const int32_t first = index / (grid.row_tiles * grid.band) * grid.band;
  const int32_t width = min(grid.band, grid.token_tiles - first);
  const int32_t place = (index - first * grid.row_tiles) / cluster;  // of the cluster, in the band
  int32_t row_tile = place / width * cluster + index % cluster;
  int output = 0;
  if (!args.has_activation) {
    while (row_tile >= output_tiles(args, output, cluster)) {
      row_tile -= output_tiles(args, output++, cluster);
    }
  }
  return {output, row_tile * (has_gate(args) ? kTileRows / 2 : kTileRows), first + place % width};
}

/// Address of strip i of a tile, first up's, then gate's; null beyond the weight's last row.
__device__ __forceinline__ const std::byte* tile_strip(const LinearArgs& args, const GemmTile& tile,
                                                       int i) {
  const int gate = has_gate(args) ? i / (kTileStrips / 2) : 0;
  const int32_t strip = tile.first_row / kStripRows + i - gate * (kTileStrips / 2);
  const WeightRef& map = args.outputs[tile.output + gate].weight;
  return strip * kStripRows < map.rows ? strip_address(map, strip) : nullptr;
}

/// finish() for the sums [kOctets][4] of a strip. Residuals are loaded for many at once, ahead of
/// stores which could be to the same place as far as the compiler knows.
template <int kOctets>
__device__ __forceinline__ void finish_strip(const LinearArgs& args, const LinearOutput& output,
                                             int32_t strip_row, int32_t first_token, int lane,
                                             const float* sums) {
  constexpr int kBatch = kOctets < 8 ? kOctets : 8;
  const int32_t rows = output.weight.rows;
  const int32_t r = strip_row + lane / 4, t = first_token + lane % 4 * 2;
  // Of tokens from t on, in rows r and r + 8.
  const int32_t end[2] = {r < rows ? args.rows - t : 0, r + 8 < rows ? args.rows - t : 0};
  float bias[2] = {};
  if (output.bias != nullptr) {
    if (end[0] > 0) bias[0] = output.bias[r];
    if (end[1] > 0) bias[1] = output.bias[r + 8];
  }
  const size_t octet_stride = size_t(rows) * 8;
  const size_t at[2] = {size_t(t) * rows + r, size_t(t + 1) * rows + r};
  float* const out = static_cast<float*>(output.out);
#pragma unroll
  for (int first = 0; first < kOctets; first += kBatch) {
    float residual[kBatch][4] = {};
    if (output.residual != nullptr) {
#pragma unroll
      for (int octet = 0; octet < kBatch; ++octet) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          if ((first + octet) * 8 + i % 2 < end[i / 2]) {
            residual[octet][i] =
                __ldcs(output.residual + at[i % 2] + (first + octet) * octet_stride + i / 2 * 8);
          }
        }
      }
    }
#pragma unroll
    for (int octet = 0; octet < kBatch; ++octet) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float sum = sums[(first + octet) * 4 + i];
        if (output.bias != nullptr) sum = __fadd_rn(sum, bias[i / 2]);
        if (output.residual != nullptr) sum = __fadd_rn(sum, residual[octet][i]);
        if ((first + octet) * 8 + i % 2 < end[i / 2]) {
          __stcs(out + at[i % 2] + (first + octet) * octet_stride + i / 2 * 8, sum);
        }
      }
    }
  }
}

/// An 8 x 8 matrix of 16-bit values as a fragment, transposed.
__device__ __forceinline__ uint32_t transpose_matrix(uint32_t fragment) {
  uint32_t result = 0;
#if __CUDA_ARCH__ >= 800
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(result) : "r"(fragment));
#endif
  return result;
}

/// Adds the bias of rows r and r + 8 to an octet's sums.
__device__ __forceinline__ void add_bias(const LinearOutput& output, int32_t r, float (&sums)[4]) {
  if (output.bias == nullptr) return;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float bias = r + half * 8 < output.weight.rows ? output.bias[r + half * 8] : 0;
    sums[half * 2] = __fadd_rn(sums[half * 2], bias);
    sums[half * 2 + 1] = __fadd_rn(sums[half * 2 + 1], bias);
  }
}

/// Activates and stores a strip's sums of an octet of tokens: values as gated_value() makes them.
/// gate: what goes through the activation; up: what it is multiplied with if there is a gate, else
/// not looked at. By whole warps.
template <class Half>
__device__ __forceinline__ void store_gated_octet(const LinearArgs& args, int32_t strip_row,
                                                  int32_t first_token, int lane, const float4& gate,
                                                  const float4& up) {
  const LinearOutput& output = args.outputs[0];
  const int32_t rows = output.weight.rows, r = strip_row + lane / 4;
  float values[4] = {gate.x, gate.y, gate.z, gate.w};
  add_bias(args.outputs[args.num_outputs - 1], r, values);
  activate(args.activation, values);
  if (has_gate(args)) {
    float factors[4] = {up.x, up.y, up.z, up.w};
    add_bias(output, r, factors);
#pragma unroll
    for (int i = 0; i < 4; ++i) values[i] = __fmul_rn(values[i], factors[i]);
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (r + i / 2 * 8 >= rows) values[i] = 0;
  }
  if (args.out_is_operand) {
    const int32_t token = first_token + lane / 4;
    __syncwarp();  // lanes can have branched above
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint32_t pair =
          transpose_matrix(round_pair<Half>(values[half * 2], values[half * 2 + 1]));
      const int32_t first = strip_row + half * 8 + lane % 4 * 2;
      if (token < args.rows && first < round_up(rows, kSlabCols)) {
        const size_t at = operand_element(token, first, round_up(args.rows, 8));
        *reinterpret_cast<uint32_t*>(static_cast<Half*>(output.out) + at) = pair;
      }
    }
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int32_t token = first_token + lane % 4 * 2 + i % 2, row = r + i / 2 * 8;
      if (token < args.rows && row < rows) {
        static_cast<float*>(output.out)[size_t(token) * rows + row] = values[i];
      }
    }
  }
}

}  // namespace hearth::cuda
