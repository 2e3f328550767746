// Linear kernels for AVX-512 with VNNI.
//
//   c[t, r] = Σ_k W[r, k] x[t, k]
//
// Shapes    c [num_tokens, 16 num_tiles] f32 · x int8 by groups of 32, or f32 [num_tokens, cols]
// int8      vpdpbusd multiplies the unsigned quants of 4 columns of 16 rows by 4 broadcast
//           activations and adds the four products into 32 bits: 8 of them a group. Then, group by
//           group, c += sx (d Σ q x + m Σ x).
// f32       64 columns of a tile, dequantized into L1 where that pays, times broadcast activations:
//           columns in order within a run of 64, the runs' sums in order.
// Work      int8: a group is unpacked into 8 registers and used for all tokens, whose sums wait in
//           L1; for one token they stay in a register.
// Bytes     the run's tiles once (cost.h: linear_cost); SmolLM2-135M Q4_1 98 MB a step
// Checked   tests/kernels on a Xeon of family 6, model 207 (Sapphire or Emerald Rapids)
#include "linear_f32_tiles.h"
#include "quants_avx512.h"
#include "row_kernels.h"

namespace hearth {
namespace {

constexpr uint32_t kF16 = HEARTH_DTYPE_F16;
constexpr uint32_t kBF16 = HEARTH_DTYPE_BF16;

inline __m512i broadcast4(const int8_t* from) {
  int32_t four;
  __builtin_memcpy(&four, from, sizeof four);
  return _mm512_set1_epi32(four);
}

// sums + sx (d Σ q x + m Σ x)
template <uint32_t kDType>
inline __m512 accumulate(const Group<kDType>& group, const int8_t* x, float x_scale, float x_sum,
                         __m512 sums) {
  __m512i even = _mm512_setzero_si512(), odd = _mm512_setzero_si512();
  for (int i = 0; i < 8; i += 2) {
    even = _mm512_dpbusd_epi32(even, group.quants[i], broadcast4(x + 4 * i));
    odd = _mm512_dpbusd_epi32(odd, group.quants[i + 1], broadcast4(x + 4 * i + 4));
  }
  return group.finish(_mm512_add_epi32(even, odd), x_scale, x_sum, sums);
}

template <uint32_t kDType>
void one_token(const std::byte* tile, int32_t num_groups, const Int8Tokens& x, float* c) {
  __m512 sums = _mm512_setzero_ps();
  for (int32_t g = 0; g < num_groups; ++g) {
    const std::byte* group = tile + g * group_bytes(kDType);
    prefetch_ahead(group, group_bytes(kDType));
    sums =
        accumulate(Group<kDType>(group), x.values + g * kGroupCols, x.scales[g], x.sums[g], sums);
  }
  _mm512_storeu_ps(c, sums);
}

template <uint32_t kDType>
void many_tokens(const std::byte* tile, int32_t num_groups, const Int8Tokens& x, float* c,
                 int32_t c_stride) {
  const int32_t num_tokens = x.num_tokens;
  for (int32_t t = 0; t < num_tokens; ++t) {
    _mm512_storeu_ps(c + size_t(t) * c_stride, _mm512_setzero_ps());
  }
  for (int32_t g = 0; g < num_groups; ++g) {
    const std::byte* from = tile + g * group_bytes(kDType);
    prefetch_ahead(from, group_bytes(kDType));
    const Group<kDType> group(from);
    const int8_t* values = x.values + size_t(g) * num_tokens * kGroupCols;
    const float* scales = x.scales + size_t(g) * num_tokens;
    const float* token_sums = x.sums + size_t(g) * num_tokens;
    float* out = c;
    for (int32_t t = 0; t < num_tokens; ++t, out += c_stride) {
      _mm512_storeu_ps(out, accumulate(group, values + t * kGroupCols, scales[t], token_sums[t],
                                       _mm512_loadu_ps(out)));
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

template <uint32_t kDType>
void dequantize_groups(const std::byte* group, int32_t num_groups, float* out) {
  for (int32_t g = 0; g < num_groups; ++g, group += group_bytes(kDType)) {
    const __m512 scale = load_halves(group);
    const __m512 minimum =
        kDType == kQ4_1 ? load_halves(group + 32) : _mm512_mul_ps(scale, _mm512_set1_ps(-8.0f));
    float* to = out + size_t(g) * kGroupCols * kRows;
    for (int col = 0; col < kGroupCols; ++col) {
      const int byte_col = kDType == kQ8_0 ? col : col % 16;
      const __m512i four = load(group + header_bytes(kDType) + byte_col / 4 * 64);
      const int shift = byte_col % 4 * 8;
      __m512 value;
      if (kDType == kQ8_0) {
        const __m512i q = _mm512_srai_epi32(_mm512_slli_epi32(four, 24 - shift), 24);
        value = _mm512_mul_ps(scale, _mm512_cvtepi32_ps(q));
      } else {
        const __m512i q = _mm512_and_si512(_mm512_srli_epi32(four, shift + (col < 16 ? 0 : 4)),
                                           _mm512_set1_epi32(15));
        value = _mm512_add_ps(_mm512_mul_ps(scale, _mm512_cvtepi32_ps(q)), minimum);
      }
      _mm512_storeu_ps(to + col * kRows, value);
    }
  }
}

// Elements index to index + 15 of a tile, as floats.
template <uint32_t kDType>
inline __m512 load_floats(const std::byte* tile, size_t index) {
  if (kDType == kF16) return load_halves(tile + index * 2);
  if (kDType == kBF16) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(tile + index * 2));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  }
  return _mm512_loadu_ps(reinterpret_cast<const float*>(tile) + index);
}

template <uint32_t kDType>
void convert_columns(const std::byte* tile, int32_t begin, int32_t end, float* out) {
  for (int32_t i = begin * kRows; i < end * kRows; i += kRows, out += kRows) {
    _mm512_storeu_ps(out, load_floats<kDType>(tile, i));
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
  __m512 sums[kTiles][kTokens];
  for (int i = 0; i < kTiles; ++i) {
    for (int t = 0; t < kTokens; ++t) sums[i][t] = _mm512_setzero_ps();
  }
  for (int32_t col = 0; col < cols; ++col) {
    for (int i = 0; i < kTiles; ++i) {
      const __m512 rows = load_floats<kDType>(weights[i], size_t(col) * kRows);
      for (int t = 0; t < kTokens; ++t) {
        const __m512 value = _mm512_set1_ps(x[size_t(t) * x_stride + col]);
        sums[i][t] = _mm512_fmadd_ps(rows, value, sums[i][t]);
      }
    }
  }
  for (int i = 0; i < kTiles; ++i) {
    for (int t = 0; t < kTokens; ++t) {
      float* out = c + size_t(t) * c_stride + i * kRows;
      _mm512_storeu_ps(out, _mm512_add_ps(_mm512_loadu_ps(out), sums[i][t]));
    }
  }
}

/// What linear_f32_tiles.h walks the tiles with.
struct Avx512 {
  static constexpr int kRows = 16;
  // One tile by so many tokens, or so many tiles by one token, go through together.
  static constexpr int kManyTokens = 8;
  static constexpr int kManyTiles = 8;

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

void quantize(const float* x, int32_t cols, int8_t* values, float* scales, float* sums,
              int32_t stride) {
  for (int32_t group = 0; group < cols / kGroupCols; ++group, x += kGroupCols) {
    const __m512 low = _mm512_loadu_ps(x), high = _mm512_loadu_ps(x + 16);
    const float max = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(low), _mm512_abs_ps(high)));
    const __m512 inverse = _mm512_set1_ps(inverse_scale(max));
    const __m512i low_rounded = _mm512_cvtps_epi32(_mm512_mul_ps(low, inverse));
    const __m512i high_rounded = _mm512_cvtps_epi32(_mm512_mul_ps(high, inverse));
    __m128i* to = reinterpret_cast<__m128i*>(values + size_t(group) * stride * kGroupCols);
    _mm_storeu_si128(to, _mm512_cvtsepi32_epi8(low_rounded));
    _mm_storeu_si128(to + 1, _mm512_cvtsepi32_epi8(high_rounded));
    scales[size_t(group) * stride] = max * (1.0f / 127.0f);
    sums[size_t(group) * stride] =
        float(_mm512_reduce_add_epi32(_mm512_add_epi32(low_rounded, high_rounded)));
  }
}

double int8_peak(int32_t repeats) {
  constexpr int kSums = 12;  // vpdpbusd takes 5 cycles, two start in each
  __m512i sums[kSums], weights = _mm512_set1_epi8(3), x = _mm512_set1_epi8(5);
  for (int i = 0; i < kSums; ++i) sums[i] = _mm512_setzero_si512();
  for (int32_t repeat = 0; repeat < repeats; ++repeat) {
    for (int i = 0; i < kSums; ++i) {
      asm volatile("" : "+v"(x));  // as if new activations came
      sums[i] = _mm512_dpbusd_epi32(sums[i], weights, x);
    }
  }
  for (int i = 0; i < kSums; ++i) asm volatile("" : : "v"(sums[i]));
  return 2.0 * kSums * 64 * repeats;
}

// Four streams: the prefetchers follow each, and one alone reads a fifth less (Zen 3).
void read(const std::byte* from, size_t bytes) {
  __m512i sums[4];
  for (int i = 0; i < 4; ++i) sums[i] = _mm512_setzero_si512();
  for (size_t at = 0; at < bytes / 4; at += 64) {
    for (int stream = 0; stream < 4; ++stream) {
      sums[stream] = _mm512_or_si512(sums[stream], load(from + stream * (bytes / 4) + at));
    }
  }
  for (int i = 0; i < 4; ++i) asm volatile("" : : "v"(sums[i]));
}

}  // namespace

const Kernels kKernelsAvx512 = {
    "avx512 vpdpbusd 16x4", "avx512 fma 16x8", linear_int8, linear_f32<Avx512>, quantize, norm_row,
    activate_row,           int8_peak,         read,
};

}  // namespace hearth
