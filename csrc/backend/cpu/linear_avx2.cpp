// Linear kernels for AVX2, FMA and F16C.
//
//   c[t, r] = Σ_k W[r, k] x[t, k]
//
// Shapes    c [num_tokens, 16 num_tiles] f32 · x int8 by groups of 32, or f32 [num_tokens, cols]
// int8      A register holds 4 columns of 8 rows. vpmaddubsw multiplies them by 4 broadcast
//           activations; its 16-bit sums stay exact over a whole group of a 4-bit type
//           (8 * 2 * 15 * 127 = 30,480 < 32,768), so that one vpmaddwd a group makes them 32 bits.
//           Q8_0 is signed: |w| times x with w's sign, widened at once (2 * 128 * 127 fits, more
//           not). c += sx (d Σ q x + m Σ x), group by group.
// f32       64 columns of a tile, dequantized into L1 where that pays, times broadcast activations:
//           columns in order within a run of 64, the runs' sums in order.
// Work      int8: 16 columns of a tile's 16 rows are unpacked into 8 registers and used for all
//           tokens, each broadcast for two registers; tokens' sums wait in L1 between the two
//           halves of a group (16 bits) and between groups (f32). One token's stay in registers.
// Bytes     the run's tiles once (cost.h: linear_cost); SmolLM2-135M Q4_1 98 MB a step
// Measured  Zen 3, one thread, 2.45 GHz TSC, other programs beside (bench/native/linear_bench.cpp):
//           Q4_1 86 op a cycle at 32 tokens (64 % of vpmaddubsw + vpaddw in registers), 79 at 8;
//           Q8_0 55 and 51. One token, cold: Q4_1 8.8, Q8_0 7.9, F16 10 bytes a cycle, where
//           reading alone gets 11.1.
#include <immintrin.h>

#include "kernels.h"
#include "linear_f32_tiles.h"
#include "row_kernels.h"

namespace hearth {
namespace {

constexpr int kRows = 16;
constexpr int kHalfRows = 8;  // of a tile: one register
constexpr int kGroupCols = 32;

constexpr uint32_t kF16 = HEARTH_DTYPE_F16;
constexpr uint32_t kBF16 = HEARTH_DTYPE_BF16;
constexpr uint32_t kQ8_0 = HEARTH_DTYPE_Q8_0;
constexpr uint32_t kQ4_0 = HEARTH_DTYPE_Q4_0;
constexpr uint32_t kQ4_1 = HEARTH_DTYPE_Q4_1;

constexpr size_t header_bytes(uint32_t dtype) { return dtype == kQ4_1 ? 64 : 32; }
constexpr size_t group_bytes(uint32_t dtype) {
  return header_bytes(dtype) + kRows * (dtype == kQ8_0 ? 32 : 16);
}

inline __m256i load(const std::byte* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

inline void prefetch_ahead(const std::byte* from, size_t bytes) {
  for (size_t line = 0; line < bytes; line += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(from + kPrefetchBytes + line), _MM_HINT_T0);
  }
}

inline __m256 load_halves(const std::byte* from) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}

inline __m256i broadcast4(const int8_t* from) {
  int32_t four;
  __builtin_memcpy(&four, from, sizeof four);
  return _mm256_set1_epi32(four);
}

// 16 columns of a group's 16 rows: quants[i] holds columns 4i to 4i + 3, of rows 0 to 7 and 8
// to 15.
template <uint32_t kDType>
struct Columns {
  __m256i quants[4][2];  // Q8_0: magnitudes; the signed ones are read again from `from`
  const std::byte* from;

  // part 0: columns 0 to 15, part 1: 16 to 31
  Columns(const std::byte* group_quants, int part)
      : from(group_quants + (kDType == kQ8_0 ? part * 256 : 0)) {
    for (int i = 0; i < 4; ++i) {
      for (int half = 0; half < 2; ++half) {
        const __m256i bytes = load(from + i * 64 + half * 32);
        if (kDType == kQ8_0) {
          quants[i][half] = _mm256_abs_epi8(bytes);
        } else {
          const __m256i nibbles = part == 0 ? bytes : _mm256_srli_epi16(bytes, 4);
          quants[i][half] = _mm256_and_si256(nibbles, _mm256_set1_epi8(15));
        }
      }
    }
  }

  // sums[half] += Σ q x over the 16 columns; 16 bits wide in 4-bit types, 32 in Q8_0.
  void add_products(const int8_t* x, __m256i sums[2]) const {
    for (int i = 0; i < 4; ++i) {
      const __m256i four = broadcast4(x + 4 * i);
      for (int half = 0; half < 2; ++half) {
        if (kDType == kQ8_0) {
          const __m256i signed_four = _mm256_sign_epi8(four, load(from + i * 64 + half * 32));
          const __m256i pairs = _mm256_maddubs_epi16(quants[i][half], signed_four);
          sums[half] = _mm256_add_epi32(sums[half], _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
        } else {
          sums[half] = _mm256_add_epi16(sums[half], _mm256_maddubs_epi16(quants[i][half], four));
        }
      }
    }
  }
};

// What turns 8 rows' dots of a group into f32: sums + sx (d Σ q x + m Σ x).
template <uint32_t kDType>
struct Scales {
  __m256 scale, minimum;

  Scales(const std::byte* group, int half) : scale(load_halves(group + half * 16)) {
    minimum = kDType == kQ4_1 ? load_halves(group + 32 + half * 16)
                              : _mm256_mul_ps(scale, _mm256_set1_ps(-8.0f));
  }

  __m256 finish(__m256i dot, __m256 x_scale, __m256 x_sum, __m256 sums) const {
    if (kDType != kQ8_0) dot = _mm256_madd_epi16(dot, _mm256_set1_epi16(1));
    __m256 value = _mm256_mul_ps(scale, _mm256_cvtepi32_ps(dot));
    if (kDType != kQ8_0) value = _mm256_fmadd_ps(minimum, x_sum, value);
    return _mm256_fmadd_ps(x_scale, value, sums);
  }
};

template <uint32_t kDType>
void one_token(const std::byte* tile, int32_t num_groups, const Int8Tokens& x, float* c) {
  __m256 sums[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  for (int32_t g = 0; g < num_groups; ++g) {
    const std::byte* group = tile + g * group_bytes(kDType);
    const std::byte* quants = group + header_bytes(kDType);
    prefetch_ahead(group, group_bytes(kDType));
    __m256i dots[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    Columns<kDType>(quants, 0).add_products(x.values + g * kGroupCols, dots);
    Columns<kDType>(quants, 1).add_products(x.values + g * kGroupCols + 16, dots);
    const __m256 x_scale = _mm256_broadcast_ss(x.scales + g);
    const __m256 x_sum = _mm256_broadcast_ss(x.sums + g);
    for (int half = 0; half < 2; ++half) {
      sums[half] = Scales<kDType>(group, half).finish(dots[half], x_scale, x_sum, sums[half]);
    }
  }
  _mm256_storeu_ps(c, sums[0]);
  _mm256_storeu_ps(c + kHalfRows, sums[1]);
}

template <uint32_t kDType>
void many_tokens(const std::byte* tile, int32_t num_groups, const Int8Tokens& x, float* c,
                 int32_t c_stride) {
  const int32_t num_tokens = x.num_tokens;
  for (int32_t t = 0; t < num_tokens; ++t) {
    _mm256_storeu_ps(c + size_t(t) * c_stride, _mm256_setzero_ps());
    _mm256_storeu_ps(c + size_t(t) * c_stride + kHalfRows, _mm256_setzero_ps());
  }
  __m256i partial[kTokenBlock][2];  // dots over the first 16 columns
  for (int32_t g = 0; g < num_groups; ++g) {
    const std::byte* group = tile + g * group_bytes(kDType);
    const std::byte* quants = group + header_bytes(kDType);
    prefetch_ahead(group, group_bytes(kDType));
    const int8_t* values = x.values + size_t(g) * num_tokens * kGroupCols;
    const float* token_scales = x.scales + size_t(g) * num_tokens;
    const float* token_sums = x.sums + size_t(g) * num_tokens;
    {
      const Columns<kDType> columns(quants, 0);
      for (int32_t t = 0; t < num_tokens; ++t) {
        __m256i dots[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
        columns.add_products(values + t * kGroupCols, dots);
        partial[t][0] = dots[0];
        partial[t][1] = dots[1];
      }
    }
    // Has the bytes loaded again: kept from part 0 they are spilled (10 % at 4 tokens).
    asm volatile("" : "+r"(quants));
    const Columns<kDType> columns(quants, 1);
    const Scales<kDType> scales[2] = {{group, 0}, {group, 1}};
    float* out = c;
    for (int32_t t = 0; t < num_tokens; ++t, out += c_stride) {
      __m256i dots[2] = {partial[t][0], partial[t][1]};
      columns.add_products(values + t * kGroupCols + 16, dots);
      const __m256 x_scale = _mm256_broadcast_ss(token_scales + t);
      const __m256 x_sum = _mm256_broadcast_ss(token_sums + t);
      for (int half = 0; half < 2; ++half) {
        float* to = out + half * kHalfRows;
        _mm256_storeu_ps(to, scales[half].finish(dots[half], x_scale, x_sum, _mm256_loadu_ps(to)));
      }
    }
  }
}

template <uint32_t kDType>
void linear_int8_of(const TileRun& run, const Int8Tokens& x, float* c) {
  const int32_t num_groups = run.cols / kGroupCols;
  for (int32_t i = 0; i < run.num_tiles; ++i) {
    const std::byte* tile = run.tiles + i * run.tile_bytes;
    if (x.num_tokens == 1) {
      one_token<kDType>(tile, num_groups, x, c + i * kRows);
    } else {
      many_tokens<kDType>(tile, num_groups, x, c + i * kRows, run.num_tiles * kRows);
    }
  }
}

void linear_int8(const TileRun& run, const Int8Tokens& x, float* c) {
  switch (run.dtype) {
    case kQ8_0: return linear_int8_of<kQ8_0>(run, x, c);
    case kQ4_0: return linear_int8_of<kQ4_0>(run, x, c);
    case kQ4_1: return linear_int8_of<kQ4_1>(run, x, c);
  }
}

// ------------------------------------------------------------------------------------------ f32

// Columns 4i to 4i + 3 of 8 rows, a byte each in `four`, as floats to out[column][16].
template <uint32_t kDType>
inline void store_columns(__m256i four, int shift, __m256 scale, __m256 minimum, float* out) {
  for (int col = 0; col < 4; ++col) {
    __m256i q;
    if (kDType == kQ8_0) {
      q = _mm256_srai_epi32(_mm256_slli_epi32(four, 24 - 8 * col), 24);
    } else {
      q = _mm256_and_si256(_mm256_srli_epi32(four, 8 * col + shift), _mm256_set1_epi32(15));
    }
    const __m256 value = _mm256_mul_ps(scale, _mm256_cvtepi32_ps(q));
    _mm256_storeu_ps(out + col * kRows, kDType == kQ8_0 ? value : _mm256_add_ps(value, minimum));
  }
}

template <uint32_t kDType>
void dequantize_groups(const std::byte* group, int32_t num_groups, float* out) {
  for (int32_t g = 0; g < num_groups; ++g, group += group_bytes(kDType)) {
    for (int half = 0; half < 2; ++half) {
      const __m256 scale = load_halves(group + half * 16);
      __m256 minimum = _mm256_mul_ps(scale, _mm256_set1_ps(-8.0f));
      if (kDType == kQ4_1) minimum = load_halves(group + 32 + half * 16);
      const std::byte* quants = group + header_bytes(kDType) + half * 32;
      float* to = out + size_t(g) * kGroupCols * kRows + half * kHalfRows;
      for (int i = 0; i < (kDType == kQ8_0 ? 8 : 4); ++i) {
        const __m256i four = load(quants + i * 64);
        store_columns<kDType>(four, 0, scale, minimum, to + i * 4 * kRows);
        if (kDType != kQ8_0) {
          store_columns<kDType>(four, 4, scale, minimum, to + (16 + i * 4) * kRows);
        }
      }
    }
  }
}

// Elements index to index + 7 of a tile, as floats.
template <uint32_t kDType>
inline __m256 load_floats(const std::byte* tile, size_t index) {
  if (kDType == kF16) return load_halves(tile + index * 2);
  if (kDType == kBF16) {
    const __m128i eight = _mm_loadu_si128(reinterpret_cast<const __m128i*>(tile + index * 2));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(eight), 16));
  }
  return _mm256_loadu_ps(reinterpret_cast<const float*>(tile) + index);
}

template <uint32_t kDType>
void convert_columns(const std::byte* tile, int32_t begin, int32_t end, float* out) {
  for (int32_t i = begin * kRows; i < end * kRows; i += 8, out += 8) {
    _mm256_storeu_ps(out, load_floats<kDType>(tile, i));
  }
}

// Columns [begin, end) of a tile, dequantized, as [end - begin][16].
void dequantize(uint32_t dtype, const std::byte* tile, int32_t begin, int32_t end, float* out) {
  const int32_t group = begin / kGroupCols, num_groups = (end - begin) / kGroupCols;
  switch (dtype) {
    case kF16: return convert_columns<kF16>(tile, begin, end, out);
    case kBF16: return convert_columns<kBF16>(tile, begin, end, out);
    case kQ8_0: return dequantize_groups<kQ8_0>(tile + group * group_bytes(kQ8_0), num_groups, out);
    case kQ4_0: return dequantize_groups<kQ4_0>(tile + group * group_bytes(kQ4_0), num_groups, out);
    case kQ4_1: return dequantize_groups<kQ4_1>(tile + group * group_bytes(kQ4_1), num_groups, out);
  }
}

// c += W x for kTiles tiles and kTokens tokens over `cols` columns of kDType: their 8 sums in
// registers hide the latency of an FMA.
template <uint32_t kDType, int kTiles, int kTokens>
void multiply_f32(const std::byte* const* weights, int32_t cols, const float* x, int32_t x_stride,
                  float* c, int32_t c_stride) {
  __m256 sums[kTiles][kTokens][2];
  for (int i = 0; i < kTiles; ++i) {
    for (int t = 0; t < kTokens; ++t) sums[i][t][0] = sums[i][t][1] = _mm256_setzero_ps();
  }
  for (int32_t col = 0; col < cols; ++col) {
    for (int i = 0; i < kTiles; ++i) {
      const __m256 low = load_floats<kDType>(weights[i], size_t(col) * kRows);
      const __m256 high = load_floats<kDType>(weights[i], size_t(col) * kRows + kHalfRows);
      for (int t = 0; t < kTokens; ++t) {
        const __m256 value = _mm256_set1_ps(x[size_t(t) * x_stride + col]);
        sums[i][t][0] = _mm256_fmadd_ps(low, value, sums[i][t][0]);
        sums[i][t][1] = _mm256_fmadd_ps(high, value, sums[i][t][1]);
      }
    }
  }
  for (int i = 0; i < kTiles; ++i) {
    for (int t = 0; t < kTokens; ++t) {
      float* out = c + size_t(t) * c_stride + i * kRows;
      _mm256_storeu_ps(out, _mm256_add_ps(_mm256_loadu_ps(out), sums[i][t][0]));
      _mm256_storeu_ps(out + kHalfRows,
                       _mm256_add_ps(_mm256_loadu_ps(out + kHalfRows), sums[i][t][1]));
    }
  }
}

/// What linear_f32_tiles.h walks the tiles with.
struct Avx2 {
  static constexpr int kRows = 16;
  // One tile by so many tokens, or so many tiles by one token, go through together.
  static constexpr int kManyTokens = 4;
  static constexpr int kManyTiles = 4;

  static void dequantize(uint32_t dtype, const std::byte* tile, int32_t begin, int32_t end,
                         float* out) {
    hearth::dequantize(dtype, tile, begin, end, out);
  }
  template <uint32_t kDType, int kTiles, int kTokens>
  static void multiply(const std::byte* const* weights, int32_t cols, const float* x,
                       int32_t x_stride, float* c, int32_t c_stride) {
    multiply_f32<kDType, kTiles, kTokens>(weights, cols, x, x_stride, c, c_stride);
  }
};

// -------------------------------------------------------------------------------------- the rest

inline int32_t sum_of_lanes(__m256i eight) {
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}

inline float max_of_lanes(__m256 eight) {
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

void quantize(const float* x, int32_t cols, int8_t* values, float* scales, float* sums,
              int32_t stride) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  // The packs below work within 128-bit lanes: this puts their groups of four back in order.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  for (int32_t group = 0; group < cols / kGroupCols; ++group, x += kGroupCols) {
    __m256 part[4], largest = _mm256_setzero_ps();
    for (int i = 0; i < 4; ++i) {
      part[i] = _mm256_loadu_ps(x + i * 8);
      largest = _mm256_max_ps(largest, _mm256_andnot_ps(sign, part[i]));
    }
    const float max = max_of_lanes(largest);
    const __m256 inverse = _mm256_set1_ps(inverse_scale(max));
    __m256i rounded[4];
    for (int i = 0; i < 4; ++i) rounded[i] = _mm256_cvtps_epi32(_mm256_mul_ps(part[i], inverse));
    const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(rounded[0], rounded[1]),
                                             _mm256_packs_epi32(rounded[2], rounded[3]));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(values + size_t(group) * stride * kGroupCols),
                        _mm256_permutevar8x32_epi32(bytes, order));
    const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(rounded[0], rounded[1]),
                                         _mm256_add_epi32(rounded[2], rounded[3]));
    scales[size_t(group) * stride] = max * (1.0f / 127.0f);
    sums[size_t(group) * stride] = float(sum_of_lanes(sum));
  }
}

double int8_peak(int32_t repeats) {
  __m256i sums[8], weights = _mm256_set1_epi8(3), x = _mm256_set1_epi8(5);
  for (int i = 0; i < 8; ++i) sums[i] = _mm256_setzero_si256();
  for (int32_t repeat = 0; repeat < repeats; ++repeat) {
    for (int i = 0; i < 8; ++i) {
      asm volatile("" : "+x"(x));  // as if new activations came
      sums[i] = _mm256_add_epi16(sums[i], _mm256_maddubs_epi16(weights, x));
    }
  }
  for (int i = 0; i < 8; ++i) asm volatile("" : : "x"(sums[i]));
  return 2.0 * 8 * 32 * repeats;
}

// Four streams: the prefetchers follow each, and one alone reads a fifth less (Zen 3).
void read(const std::byte* from, size_t bytes) {
  __m256i sums[4];
  for (int i = 0; i < 4; ++i) sums[i] = _mm256_setzero_si256();
  for (size_t at = 0; at < bytes / 4; at += 64) {
    for (int stream = 0; stream < 4; ++stream) {
      const std::byte* line = from + stream * (bytes / 4) + at;
      sums[stream] = _mm256_or_si256(sums[stream], _mm256_or_si256(load(line), load(line + 32)));
    }
  }
  for (int i = 0; i < 4; ++i) asm volatile("" : : "x"(sums[i]));
}

}  // namespace

const Kernels kKernelsAvx2 = {
    "avx2 vpmaddubsw 8x4", "avx2 fma 16x4", linear_int8, linear_f32<Avx2>, quantize, norm_row,
    activate_row,          int8_peak,       read,
};

}  // namespace hearth
