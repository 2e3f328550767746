// Attention of a few rows over one chunk of KV.
//
//   partial[r] = softmax terms of scale * q[r] · Kᵀ over tokens [begin[r], end[r])
//
// Two products of the same form, rows times columns of sixteen: scores (columns are tokens, the sum
// runs over head_dim: K lies transposed, so that no sum crosses lanes) and values (columns are
// dimensions, the sum runs over tokens).
//
// Same bits  Each sum has one order, over d or over t ascending, in one register lane, whatever the
//            number of rows and columns that share the registers. A row takes values of exactly its
//            own tokens: where rows of a tile end differently, the ends are added row by row, so
//            that no weight of 0 meets a slot that was never written. Blocks of scores outside a
//            row's range are skipped; tokens outside it, in a block that is not, weigh exactly 0.
// Next       Blocks of KV lie far apart, so that no cache sees the next one coming: a product asks
//            for the same place of a block of the next chunk as it goes.
#pragma once

#include "exp2_kernel.h"
#include "vector_kernels.h"

namespace hearth {
namespace {

constexpr float kInfinity = __builtin_inff();

inline int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }
inline int32_t larger(int32_t a, int32_t b) { return a > b ? a : b; }

/// sums[r][c] += sum over k of a[r][k] * b[c][k * stride, + 16), k ascending; next[c], where it is
/// not null, is what b[c] will be.
template <class Element, int kRows, int kColumns>
[[gnu::always_inline]] inline void multiply_columns(const float* const* a, const Element* const* b,
                                                    const Element* const* next, int32_t stride,
                                                    int32_t depth,
                                                    Floats16 (&sums)[kRows][kColumns]) {
  for (int32_t k = 0; k < depth; ++k) {
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) {
      if (next[c] != nullptr) __builtin_prefetch(next[c] + int64_t(k) * stride, 0, 2);
    }
    Floats16 column[kColumns];
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) column[c] = load(b[c] + int64_t(k) * stride);
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
      const Floats16 factor = broadcast(a[r][k]);
#pragma GCC unroll 4
      for (int c = 0; c < kColumns; ++c) sums[r][c] = multiply_add(factor, column[c], sums[r][c]);
    }
  }
}

/// Scores of `columns` blocks of 16 tokens from `block` on, not scaled.
template <class Element, int kRows, int kColumns>
inline void score_blocks(const AttentionChunk& chunk, int32_t block,
                         float (*scores)[kChunkTokens]) {
  const Element *k[kColumns], *next[kColumns];
  for (int c = 0; c < kColumns; ++c) {
    k[c] = static_cast<const Element*>(chunk.k[block + c]);
    next[c] = static_cast<const Element*>(chunk.next_k[block + c]);
  }
  Floats16 sums[kRows][kColumns];
  for (auto& row : sums) {
    for (Floats16& sum : row) sum = zeros();
  }
  multiply_columns<Element, kRows, kColumns>(chunk.q, k, next, chunk.k_stride, chunk.head_dim,
                                             sums);
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kColumns; ++c) store(scores[r] + (block + c) * 16, sums[r][c]);
  }
}

/// Turns scores of [begin, end) into weights, and says their maximum and sum.
inline void weigh_scores(float* scores, int32_t begin, int32_t end, float scale, float* maximum,
                         float* sum) {
  const int32_t first = begin / 16 * 16, last = (end + 15) / 16 * 16;
  for (int32_t t = first; t < begin; ++t) scores[t] = -kInfinity;
  for (int32_t t = end; t < last; ++t) scores[t] = -kInfinity;

  Floats16 largest = broadcast(-kInfinity);
  for (int32_t t = first; t < last; t += 16) largest = lanes_maximum(largest, load(scores + t));
  *maximum = max_lanes(largest);

  const Floats16 peak = broadcast(*maximum), factor = broadcast(scale);
  Floats16 sums = zeros();
  for (int32_t t = first; t < last; t += 16) {
    const Floats16 weight = exp2(multiply(subtract(load(scores + t), peak), factor));
    store(scores + t, weight);
    sums = add(sums, weight);
  }
  *sum = sum_lanes(sums);
}

/// The last head_dim % 16 dimensions of a chunk's V, padded to a column of their own.
template <class Element>
struct ValueTail {
  alignas(64) Element rows[kChunkTokens][16];

  void copy(const AttentionChunk& chunk, int32_t begin, int32_t end) {
    const int32_t width = chunk.head_dim % 16, first = chunk.head_dim - width;
    for (int32_t t = begin; t < end; ++t) {
      const Element* v = static_cast<const Element*>(chunk.v[t / 16]) + t % 16 * chunk.head_dim;
      for (int32_t i = 0; i < width; ++i) rows[t][i] = v[first + i];
      for (int32_t i = width; i < 16; ++i) rows[t][i] = 0;
    }
  }
};

/// out[r][first_dim, + 16 kColumns) += weights[r][t] v[t] for t in [begin, end), ascending.
template <class Element, int kRows, int kColumns>
inline void add_columns(const AttentionChunk& chunk, const ValueTail<Element>& tail,
                        const float* const* weights, int32_t begin, int32_t end, int32_t first_dim,
                        float* const* out) {
  Floats16 sums[kRows][kColumns];
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kColumns; ++c) sums[r][c] = load(out[r] + first_dim + 16 * c);
  }
  const bool is_tail = first_dim + 16 > chunk.head_dim;
  for (int32_t t = begin; t < end;) {
    const int32_t run = smaller(end, (t / 16 + 1) * 16) - t;
    const float* a[kRows];
    for (int r = 0; r < kRows; ++r) a[r] = weights[r] + t;
    const int32_t place = t % 16 * chunk.head_dim + first_dim;
    const Element* next_v = static_cast<const Element*>(chunk.next_v[t / 16]);
    const Element *b[kColumns], *next[kColumns];
    for (int c = 0; c < kColumns; ++c) {
      b[c] = is_tail ? tail.rows[t] : static_cast<const Element*>(chunk.v[t / 16]) + place + 16 * c;
      next[c] = is_tail || next_v == nullptr ? nullptr : next_v + place + 16 * c;
    }
    multiply_columns<Element, kRows, kColumns>(a, b, next, is_tail ? 16 : chunk.head_dim, run,
                                               sums);
    t += run;
  }
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kColumns; ++c) store(out[r] + first_dim + 16 * c, sums[r][c]);
  }
}

template <class Element, int kRows>
void add_values(const AttentionChunk& chunk, const ValueTail<Element>& tail,
                const float* const* weights, int32_t begin, int32_t end, float* const* out) {
  if (begin >= end) return;
  constexpr int kWide = kColumns[kRows];
  int32_t dim = 0;
  for (; dim + 16 * kWide <= chunk.head_dim; dim += 16 * kWide) {
    add_columns<Element, kRows, kWide>(chunk, tail, weights, begin, end, dim, out);
  }
  for (; dim < chunk.head_dim; dim += 16) {
    add_columns<Element, kRows, 1>(chunk, tail, weights, begin, end, dim, out);
  }
}

template <class Element, int kRows>
void attend_rows(const AttentionChunk& chunk) {
  if constexpr (kRows > 1) {
    if (chunk.num_rows < kRows) return attend_rows<Element, kRows - 1>(chunk);
  }
  const int32_t dim = padded_dim(chunk.head_dim);
  int32_t first = kChunkTokens, last = 0;          // seen by some row
  int32_t all_first = 0, all_last = kChunkTokens;  // seen by all
  for (int r = 0; r < kRows; ++r) {
    float* partial = chunk.partial[r];
    for (int32_t i = 0; i < dim + 16; i += 16) store(partial + i, zeros());
    partial[dim] = -kInfinity;
    all_first = larger(all_first, chunk.begin[r]);
    all_last = smaller(all_last, chunk.end[r]);
    if (chunk.begin[r] >= chunk.end[r]) continue;
    first = smaller(first, chunk.begin[r]);
    last = larger(last, chunk.end[r]);
  }
  if (first >= last) return;

  alignas(64) float scores[kRows][kChunkTokens];
  constexpr int kWide = kColumns[kRows];
  const int32_t last_block = (last + 15) / 16;
  int32_t block = first / 16;
  for (; block + kWide <= last_block; block += kWide) {
    score_blocks<Element, kRows, kWide>(chunk, block, scores);
  }
  for (; block < last_block; ++block) score_blocks<Element, kRows, 1>(chunk, block, scores);

  const float* weights[kRows];
  for (int r = 0; r < kRows; ++r) {
    weights[r] = scores[r];
    if (chunk.begin[r] >= chunk.end[r]) continue;
    weigh_scores(scores[r], chunk.begin[r], chunk.end[r], chunk.scale, &chunk.partial[r][dim],
                 &chunk.partial[r][dim + 1]);
  }

  ValueTail<Element> tail;
  if (chunk.head_dim % 16 != 0) tail.copy(chunk, first, last);
  if (all_first >= all_last) all_first = all_last = kChunkTokens;  // each row alone
  for (int r = 0; r < kRows; ++r) {
    add_values<Element, 1>(chunk, tail, &weights[r], chunk.begin[r],
                           smaller(all_first, chunk.end[r]), &chunk.partial[r]);
  }
  add_values<Element, kRows>(chunk, tail, weights, all_first, all_last, chunk.partial);
  for (int r = 0; r < kRows; ++r) {
    add_values<Element, 1>(chunk, tail, &weights[r], all_last, chunk.end[r], &chunk.partial[r]);
  }
}

void attend(const AttentionChunk& chunk) {
  if (chunk.is_half) {
    attend_rows<uint16_t, kMaxRows>(chunk);
  } else {
    attend_rows<float, kMaxRows>(chunk);
  }
}

void merge(float* state, const float* partial, int32_t head_dim, float scale) {
  const int32_t dim = padded_dim(head_dim);
  if (partial[dim] == -kInfinity && partial[dim + 1] == 0) return;  // saw nothing
  if (state[dim] == -kInfinity && state[dim + 1] == 0) {
    for (int32_t i = 0; i < partial_floats(head_dim); i += 16) store(state + i, load(partial + i));
    return;
  }
  const float maximum = state[dim] > partial[dim] ? state[dim] : partial[dim];
  const Floats16 old_weight = exp2(broadcast((state[dim] - maximum) * scale));
  const Floats16 new_weight = exp2(broadcast((partial[dim] - maximum) * scale));
  // The maximum and the sum lie behind the values: the sum goes through the same line.
  for (int32_t i = 0; i < partial_floats(head_dim); i += 16) {
    const Floats16 kept = multiply(load(state + i), old_weight);
    store(state + i, multiply_add(load(partial + i), new_weight, kept));
  }
  state[dim] = maximum;
}

void finish(const float* state, int32_t head_dim, float* out) {
  const float factor = 1 / state[padded_dim(head_dim) + 1];
  int32_t i = 0;
  for (; i + 16 <= head_dim; i += 16) store(out + i, multiply(load(state + i), broadcast(factor)));
  for (; i < head_dim; ++i) out[i] = state[i] * factor;
}

}  // namespace
}  // namespace hearth
