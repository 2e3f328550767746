// floats16_generic.h with AVX-512: one register.
#pragma once

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 warns of its own header: _mm512_undefined_ps() is `__Y = __Y` there (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <immintrin.h>

#include <cstdint>

namespace hearth {
namespace {

struct Floats16 {
  __m512 all;
};

// Of 32 registers up to 24 hold sums.
constexpr int kMaxRows = 12;
constexpr int kColumns[kMaxRows + 1] = {0, 4, 4, 4, 2, 2, 2, 2, 2, 2, 2, 2, 2};

inline Floats16 broadcast(float value) { return {_mm512_set1_ps(value)}; }

inline Floats16 zeros() { return {_mm512_setzero_ps()}; }

inline Floats16 load(const float* from) { return {_mm512_loadu_ps(from)}; }

inline Floats16 load(const uint16_t* halves) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(halves)))};
}

inline void store(float* to, Floats16 a) { _mm512_storeu_ps(to, a.all); }

inline void store(uint16_t* halves, Floats16 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(halves),
                      _mm512_cvtps_ph(a.all, _MM_FROUND_TO_NEAREST_INT));
}

inline Floats16 add(Floats16 a, Floats16 b) { return {_mm512_add_ps(a.all, b.all)}; }

inline Floats16 subtract(Floats16 a, Floats16 b) { return {_mm512_sub_ps(a.all, b.all)}; }

inline Floats16 multiply(Floats16 a, Floats16 b) { return {_mm512_mul_ps(a.all, b.all)}; }

inline Floats16 multiply_add(Floats16 a, Floats16 b, Floats16 c) {
  return {_mm512_fmadd_ps(a.all, b.all, c.all)};
}

inline Floats16 lanes_maximum(Floats16 a, Floats16 b) { return {_mm512_max_ps(a.all, b.all)}; }

inline Floats16 zero_where_less(Floats16 value, Floats16 a, Floats16 b) {
  return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a.all, b.all, _CMP_NLT_UQ), value.all)};
}

inline Floats16 scale_by_power(Floats16 value, Floats16 shifted) {
  const __m512i power = _mm512_slli_epi32(_mm512_castps_si512(shifted.all), 23);
  return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(value.all), power))};
}

inline float sum_lanes(Floats16 a) {
  const __m256 eight =
      _mm256_add_ps(_mm512_castps512_ps256(a.all), _mm512_extractf32x8_ps(a.all, 1));
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}

inline float max_lanes(Floats16 a) {
  const __m256 eight =
      _mm256_max_ps(_mm512_castps512_ps256(a.all), _mm512_extractf32x8_ps(a.all, 1));
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

}  // namespace
}  // namespace hearth
