// floats16_generic.h with AVX2, FMA and F16C: two registers of eight.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace hearth {
namespace {

struct Floats16 {
  __m256 low, high;
};

// Of 16 registers at most 12 hold sums, beside the columns and a factor. A multiply-add takes 4
// cycles and 2 start in each: 8 sums keep both units busy. 3 rows of 2 columns would need 17
// registers, and the one in memory sets the pace: 29 us for 512 tokens of 3 KV heads of 64, where 1
// column takes 20.
constexpr int kMaxRows = 6;
constexpr int kColumns[kMaxRows + 1] = {0, 4, 2, 1, 1, 1, 1};

inline Floats16 broadcast(float value) {
  const __m256 all = _mm256_set1_ps(value);
  return {all, all};
}

inline Floats16 zeros() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }

inline Floats16 load(const float* from) {
  return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)};
}

inline Floats16 load(const uint16_t* halves) {
  const __m128i* from = reinterpret_cast<const __m128i*>(halves);
  return {_mm256_cvtph_ps(_mm_loadu_si128(from)), _mm256_cvtph_ps(_mm_loadu_si128(from + 1))};
}

inline void store(float* to, Floats16 a) {
  _mm256_storeu_ps(to, a.low);
  _mm256_storeu_ps(to + 8, a.high);
}

inline void store(uint16_t* halves, Floats16 a) {
  __m128i* to = reinterpret_cast<__m128i*>(halves);
  _mm_storeu_si128(to, _mm256_cvtps_ph(a.low, _MM_FROUND_TO_NEAREST_INT));
  _mm_storeu_si128(to + 1, _mm256_cvtps_ph(a.high, _MM_FROUND_TO_NEAREST_INT));
}

inline Floats16 add(Floats16 a, Floats16 b) {
  return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}

inline Floats16 subtract(Floats16 a, Floats16 b) {
  return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
}

inline Floats16 multiply(Floats16 a, Floats16 b) {
  return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}

inline Floats16 multiply_add(Floats16 a, Floats16 b, Floats16 c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}

inline Floats16 lanes_maximum(Floats16 a, Floats16 b) {
  return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
}

inline Floats16 zero_where_less(Floats16 value, Floats16 a, Floats16 b) {
  return {_mm256_andnot_ps(_mm256_cmp_ps(a.low, b.low, _CMP_LT_OQ), value.low),
          _mm256_andnot_ps(_mm256_cmp_ps(a.high, b.high, _CMP_LT_OQ), value.high)};
}

inline __m256 scale_by_power(__m256 value, __m256 shifted) {
  const __m256i power = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(value), power));
}

inline Floats16 scale_by_power(Floats16 value, Floats16 shifted) {
  return {scale_by_power(value.low, shifted.low), scale_by_power(value.high, shifted.high)};
}

inline float sum_lanes(Floats16 a) {
  const __m256 eight = _mm256_add_ps(a.low, a.high);
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}

inline float max_lanes(Floats16 a) {
  const __m256 eight = _mm256_max_ps(a.low, a.high);
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

}  // namespace
}  // namespace hearth
