#include "rope_kv.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kv_cells.h"
#include "vector_kernels.h"

namespace hearth {
namespace {

constexpr int32_t kMaxHeadDim = 256;
// Elements of q, k and v that one thread handles sooner alone than the pool is woken for.
constexpr int32_t kAloneElements = 4096;
// Tokens of a work item: some blocks, since the tokens of a K cell share cache lines.
constexpr int32_t kItemTokens = 64;

/// Norm over one head, in place. The order of the sum is fixed: 16 partial sums, then those.
void normalize_head(const NormView& norm, float* x, int32_t head_dim) {
  if (norm.kind == NormKind::kNone) return;
  auto sum = [&](auto term) {
    float lanes[16] = {};
    for (int32_t i = 0; i < head_dim; ++i) lanes[i % 16] += term(x[i]);
    float total = 0;
    for (float lane : lanes) total += lane;
    return total;
  };
  float mean = 0;
  if (norm.kind == NormKind::kLayer) mean = sum([](float value) { return value; }) / head_dim;
  const float variance =
      sum([mean](float value) { return (value - mean) * (value - mean); }) / head_dim;
  const float factor = 1 / std::sqrt(variance + norm.eps);
  for (int32_t i = 0; i < head_dim; ++i) {
    x[i] = (x[i] - mean) * factor * norm.weight[i];
    if (norm.bias != nullptr) x[i] += norm.bias[i];
  }
}

/// Rotates the leading rope.dim() values of a head. cos, sin: of its token.
void rotate_head(const RopeView& rope, const float* cos, const float* sin, float* x) {
  const int32_t half = rope.dim() / 2;
  const int32_t stride = rope.interleaved ? 2 : 1, distance = rope.interleaved ? 1 : half;
  for (int32_t i = 0; i < half; ++i) {
    const float a = x[i * stride], b = x[i * stride + distance];
    x[i * stride] = a * cos[i] - b * sin[i];
    x[i * stride + distance] = b * cos[i] + a * sin[i];
  }
}

/// A token's K into column `offset` of its cell, its V into row `offset`.
template <class Element>
void write_cells(const KvSpec& spec, int32_t offset, const Element* k, const Element* v,
                 std::byte* k_cell, std::byte* v_cell) {
  Element* column = reinterpret_cast<Element*>(k_cell) + offset;
  for (int32_t i = 0; i < spec.head_dim; ++i) column[size_t(i) * spec.block_tokens] = k[i];
  Element* row = reinterpret_cast<Element*>(v_cell) + size_t(offset) * spec.head_dim;
  std::memcpy(row, v, spec.head_dim * sizeof(Element));
}

}  // namespace

void rope_table(const StepInput& input, const RopeView& rope, float* cos, float* sin) {
  const int32_t half = rope.dim() / 2;
  for (size_t t = 0; t < input.positions.size(); ++t) {
    for (int32_t i = 0; i < half; ++i) {
      const float angle = float(input.positions[t]) * rope.inv_freq[i];
      cos[t * half + i] = float(std::cos(double(angle))) * rope.scale;
      sin[t * half + i] = float(std::sin(double(angle))) * rope.scale;
    }
  }
}

void rope_and_write_kv(ThreadPool& pool, const StepInput& input, const RopeView& rope,
                       const float* cos, const float* sin, const KvCache& kv,
                       const AttentionSpec& attention, const NormView& q_norm,
                       const NormView& k_norm, float* q, const float* k, const float* v, Isa isa) {
  const KvSpec& spec = kv.spec;
  const VectorKernels& kernels = vector_kernels(isa);
  const int32_t head_dim = spec.head_dim, half = rope.dim() / 2;
  const int32_t group = attention.num_heads / spec.num_kv_heads;
  const int32_t num_tokens = input.num_tokens();

  auto query_heads = [&](int32_t token, int32_t kv_head) {
    for (int32_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      float* x = q + (size_t(token) * attention.num_heads + head) * head_dim;
      normalize_head(q_norm, x, head_dim);
      rotate_head(rope, cos + size_t(token) * half, sin + size_t(token) * half, x);
    }
  };
  auto key_and_value = [&](int32_t token, int32_t kv_head) {
    const size_t source = (size_t(token) * spec.num_kv_heads + kv_head) * head_dim;
    float key[kMaxHeadDim];
    std::memcpy(key, k + source, head_dim * sizeof(float));
    normalize_head(k_norm, key, head_dim);
    rotate_head(rope, cos + size_t(token) * half, sin + size_t(token) * half, key);

    const int32_t slot = input.kv_slots[token];
    const int32_t block = slot / spec.block_tokens, offset = slot % spec.block_tokens;
    std::byte* k_cell = kv_cell(kv, block, attention.layer, KvPart::kKey, kv_head);
    std::byte* v_cell = kv_cell(kv, block, attention.layer, KvPart::kValue, kv_head);
    if (spec.dtype == DType::kF32) {
      write_cells(spec, offset, key, v + source, k_cell, v_cell);
    } else {
      uint16_t key_halves[kMaxHeadDim], value_halves[kMaxHeadDim];
      kernels.halves_from_floats(key, head_dim, key_halves);
      kernels.halves_from_floats(v + source, head_dim, value_halves);
      write_cells(spec, offset, key_halves, value_halves, k_cell, v_cell);
    }
  };
  auto item = [&](int32_t first, int32_t last, int32_t kv_head) {
    for (int32_t token = first; token < last; ++token) {
      query_heads(token, kv_head);
      key_and_value(token, kv_head);
    }
  };

  const int32_t heads = attention.num_heads + 2 * spec.num_kv_heads;
  if (int64_t(num_tokens) * heads * head_dim <= kAloneElements) {
    for (int32_t kv_head = 0; kv_head < spec.num_kv_heads; ++kv_head) item(0, num_tokens, kv_head);
    return;
  }
  const int32_t runs = (num_tokens + kItemTokens - 1) / kItemTokens;
  WorkQueue queue(runs * spec.num_kv_heads, 1);
  pool.run([&](int) {
    for (int32_t begin, end; queue.take(begin, end);) {
      const int32_t first = begin % runs * kItemTokens;
      item(first, std::min(first + kItemTokens, num_tokens), begin / runs);
    }
  });
}

void copy_blocks(const KvCache& kv, std::span<const BlockCopy> copies) {
  const size_t bytes = kv.spec.block_bytes();
  for (const BlockCopy& copy : copies) {
    std::memcpy(kv.data + copy.to * bytes, kv.data + copy.from * bytes, bytes);
  }
}

}  // namespace hearth
