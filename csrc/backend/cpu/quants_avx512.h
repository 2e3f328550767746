// Groups of quantized weights in AVX-512 registers, and what their integer sums become: shared by
// the VNNI and the AMX kernels, whose results are the same bits.
//
// Internal linkage, as in row_kernels.h.
#pragma once

#if defined(__GNUC__) && !defined(__clang__)
// g++ 12 warns of its own header's deliberately undefined values (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "../../hearth.h"
#include "kernels.h"

namespace hearth {
namespace {

constexpr int kRows = 16;
constexpr int kGroupCols = 32;

constexpr uint32_t kQ8_0 = HEARTH_DTYPE_Q8_0;
constexpr uint32_t kQ4_0 = HEARTH_DTYPE_Q4_0;
constexpr uint32_t kQ4_1 = HEARTH_DTYPE_Q4_1;

constexpr size_t header_bytes(uint32_t dtype) { return dtype == kQ4_1 ? 64 : 32; }
constexpr size_t group_bytes(uint32_t dtype) {
  return header_bytes(dtype) + kRows * (dtype == kQ8_0 ? 32 : 16);
}

inline __m512i load(const std::byte* from) { return _mm512_loadu_si512(from); }

inline __m512 load_halves(const std::byte* from) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}

inline void prefetch_ahead(const std::byte* from, size_t bytes) {
  for (size_t line = 0; line < bytes; line += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(from + kPrefetchBytes + line), _MM_HINT_T0);
  }
}

// 32 columns of 16 rows: quants[i] holds columns 4i to 4i + 3, unsigned: those of Q8_0 are 128 more
// than they should be.
template <uint32_t kDType>
struct Group {
  __m512 scale;
  __m512 minimum;
  __m512i quants[8];

  explicit Group(const std::byte* from) {
    scale = load_halves(from);
    minimum =
        kDType == kQ4_1 ? load_halves(from + 32) : _mm512_mul_ps(scale, _mm512_set1_ps(-8.0f));
    from += header_bytes(kDType);
    if (kDType == kQ8_0) {
      const __m512i offset = _mm512_set1_epi8(-128);
      for (int i = 0; i < 8; ++i) quants[i] = _mm512_xor_si512(load(from + i * 64), offset);
      return;
    }
    const __m512i low = _mm512_set1_epi8(15);
    for (int i = 0; i < 4; ++i) {
      const __m512i both = load(from + i * 64);
      quants[i] = _mm512_and_si512(both, low);
      quants[i + 4] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
    }
  }

  // sums + sx (d Σ q x + m Σ x), dot being Σ q x over the quants. 128 Σ x is taken off Q8_0's
  // exactly: all are integers below 2^24.
  __m512 finish(__m512i dot, float x_scale, float x_sum, __m512 sums) const {
    const __m512 sum = _mm512_set1_ps(x_sum);
    __m512 value = _mm512_cvtepi32_ps(dot);
    if (kDType == kQ8_0) {
      value = _mm512_mul_ps(scale, _mm512_fnmadd_ps(_mm512_set1_ps(128.0f), sum, value));
    } else {
      value = _mm512_fmadd_ps(minimum, sum, _mm512_mul_ps(scale, value));
    }
    return _mm512_fmadd_ps(_mm512_set1_ps(x_scale), value, sums);
  }
};

}  // namespace
}  // namespace hearth
