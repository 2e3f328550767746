// Linear kernels in plain C++, for CPUs without AVX2 and as the reference of the others'
// arithmetic.
//
//   c[t, r] = Σ_k W[r, k] x[t, k]
//
// Shapes    c [num_tokens, 16 num_tiles] f32 · x int8 by groups of 32, or f32 [num_tokens, cols]
// Order     int8: the products of a group are added exactly; then, group by group,
//             c += sx (d Σ q x + m Σ x)        Q4_0 has m = -8 d, Q8_0 has none
//           f32: columns in order within runs of 64, whose sums are added in order.
// Work      one tile at a time, all its tokens
// Bytes     the run's tiles once (cost.h: linear_cost)
#include <algorithm>
#include <cmath>

#include "../half.h"
#include "kernels.h"
#include "row_kernels.h"

namespace hearth {
namespace {

constexpr int kRows = 16;
constexpr int kGroupCols = 32;
constexpr int kChunkCols = 64;

uint16_t half_bits(const std::byte* from) {
  uint16_t value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// 32 columns of 16 rows, [4 or 8 groups][16 rows][4 columns] in the tile, as [32][16].
struct Group {
  int8_t quants[kGroupCols][kRows];
  float scale[kRows];
  float minimum[kRows];
};

size_t group_bytes(uint32_t dtype) {
  return dtype == HEARTH_DTYPE_Q8_0 ? 544 : dtype == HEARTH_DTYPE_Q4_0 ? 288 : 320;
}

void unpack_group(uint32_t dtype, const std::byte* from, Group& group) {
  for (int r = 0; r < kRows; ++r) group.scale[r] = float_from_half(half_bits(from + 2 * r));
  from += 2 * kRows;
  for (int r = 0; r < kRows; ++r) {
    group.minimum[r] = dtype == HEARTH_DTYPE_Q4_0   ? -8.0f * group.scale[r]
                       : dtype == HEARTH_DTYPE_Q4_1 ? float_from_half(half_bits(from + 2 * r))
                                                    : 0.0f;
  }
  if (dtype == HEARTH_DTYPE_Q4_1) from += 2 * kRows;
  for (int col = 0; col < kGroupCols; ++col) {
    const int byte_col = dtype == HEARTH_DTYPE_Q8_0 ? col : col % 16;
    for (int r = 0; r < kRows; ++r) {
      const int byte = int(from[(byte_col / 4 * kRows + r) * 4 + byte_col % 4]);
      group.quants[col][r] = dtype == HEARTH_DTYPE_Q8_0 ? int8_t(byte)
                             : col < 16                 ? int8_t(byte & 15)
                                                        : int8_t(byte >> 4);
    }
  }
}

void linear_int8(const TileRun& run, const Int8Tokens& x, float* c) {
  const int32_t num_groups = run.cols / kGroupCols, c_stride = run.num_tiles * kRows;
  for (int32_t tile = 0; tile < run.num_tiles; ++tile) {
    for (int32_t t = 0; t < x.num_tokens; ++t) {
      std::fill_n(c + size_t(t) * c_stride + tile * kRows, kRows, 0.0f);
    }
    for (int32_t g = 0; g < num_groups; ++g) {
      Group group;
      unpack_group(run.dtype, run.tiles + tile * run.tile_bytes + g * group_bytes(run.dtype),
                   group);
      for (int32_t t = 0; t < x.num_tokens; ++t) {
        const size_t at = size_t(g) * x.num_tokens + t;
        const int8_t* values = x.values + at * kGroupCols;
        int32_t dot[kRows] = {};
        for (int col = 0; col < kGroupCols; ++col) {
          for (int r = 0; r < kRows; ++r) dot[r] += group.quants[col][r] * values[col];
        }
        float* out = c + size_t(t) * c_stride + tile * kRows;
        for (int r = 0; r < kRows; ++r) {
          out[r] += x.scales[at] * (group.scale[r] * float(dot[r]) + group.minimum[r] * x.sums[at]);
        }
      }
    }
  }
}

// Columns [begin, end) of a tile, dequantized, as [end - begin][16].
void dequantize(const TileRun& run, const std::byte* tile, int32_t begin, int32_t end, float* out) {
  switch (run.dtype) {
    case HEARTH_DTYPE_F32:
      std::memcpy(out, tile + size_t(begin) * kRows * 4, size_t(end - begin) * kRows * 4);
      return;
    case HEARTH_DTYPE_F16:
      for (int32_t i = begin * kRows; i < end * kRows; ++i) {
        *out++ = float_from_half(half_bits(tile + size_t(i) * 2));
      }
      return;
    case HEARTH_DTYPE_BF16:
      for (int32_t i = begin * kRows; i < end * kRows; ++i) {
        *out++ = float_from_bf16(half_bits(tile + size_t(i) * 2));
      }
      return;
  }
  for (int32_t col = begin; col < end; col += kGroupCols) {
    Group group;
    unpack_group(run.dtype, tile + col / kGroupCols * group_bytes(run.dtype), group);
    for (int i = 0; i < kGroupCols; ++i) {
      for (int r = 0; r < kRows; ++r) {
        *out++ = group.scale[r] * float(group.quants[i][r]) + group.minimum[r];
      }
    }
  }
}

void linear_f32(const TileRun& run, const float* x, int32_t x_stride, int32_t num_tokens,
                float* c) {
  const int32_t c_stride = run.num_tiles * kRows;
  for (int32_t tile = 0; tile < run.num_tiles; ++tile) {
    for (int32_t t = 0; t < num_tokens; ++t) {
      std::fill_n(c + size_t(t) * c_stride + tile * kRows, kRows, 0.0f);
    }
    for (int32_t begin = 0; begin < run.cols; begin += kChunkCols) {
      const int32_t cols = std::min(kChunkCols, run.cols - begin);
      float weights[kChunkCols * kRows];
      dequantize(run, run.tiles + tile * run.tile_bytes, begin, begin + cols, weights);
      for (int32_t t = 0; t < num_tokens; ++t) {
        const float* values = x + size_t(t) * x_stride + begin;
        float sum[kRows] = {};
        for (int32_t col = 0; col < cols; ++col) {
          for (int r = 0; r < kRows; ++r) sum[r] += weights[col * kRows + r] * values[col];
        }
        float* out = c + size_t(t) * c_stride + tile * kRows;
        for (int r = 0; r < kRows; ++r) out[r] += sum[r];
      }
    }
  }
}

// Adding 1.5 * 2^23 rounds to the nearest integer, ties to even, and leaves it in the low bits.
int32_t round_to_int(float value) {
  const float shifted = value + 12582912.0f;
  int32_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  return bits - 0x4b400000;
}

void quantize(const float* x, int32_t cols, int8_t* values, float* scales, float* sums,
              int32_t stride) {
  for (int32_t group = 0; group < cols / kGroupCols; ++group, x += kGroupCols) {
    float max = 0;
    for (int i = 0; i < kGroupCols; ++i) max = std::max(max, std::fabs(x[i]));
    const float inverse = inverse_scale(max);
    int8_t* q = values + size_t(group) * stride * kGroupCols;
    int32_t sum = 0;
    for (int i = 0; i < kGroupCols; ++i) {
      q[i] = int8_t(round_to_int(x[i] * inverse));
      sum += q[i];
    }
    scales[size_t(group) * stride] = max * (1.0f / 127.0f);
    sums[size_t(group) * stride] = float(sum);
  }
}

double int8_peak(int32_t repeats) {
  int32_t sum[kRows] = {};
  int8_t weight[kRows], value = 3;
  for (int r = 0; r < kRows; ++r) weight[r] = int8_t(r);
  for (int32_t i = 0; i < repeats; ++i) {
    asm volatile("" : "+m"(weight), "+r"(value));
    for (int r = 0; r < kRows; ++r) sum[r] += weight[r] * value;
  }
  asm volatile("" : : "m"(sum));
  return 2.0 * kRows * repeats;
}

void read(const std::byte* from, size_t bytes) {
  uint64_t sum = 0;
  for (size_t i = 0; i < bytes; i += sizeof sum) {
    uint64_t word;
    std::memcpy(&word, from + i, sizeof word);
    sum |= word;
  }
  asm volatile("" : : "r"(sum));
}

}  // namespace

const Kernels kKernelsGeneric = {
    "generic", "generic",    linear_int8, linear_f32, quantize,
    norm_row,  activate_row, int8_peak,   read,
};

}  // namespace hearth
