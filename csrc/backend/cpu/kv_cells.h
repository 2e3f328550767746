// Where K and V lie on the CPU. Inside a (block, layer, K|V, kv_head) cell of step.h:
//
//   K  [head_dim][block_tokens]   the scores of 16 tokens are then sums in 16 lanes
//   V  [block_tokens][head_dim]   the dimensions of the output are the lanes
#pragma once

#include "../backend.h"

namespace hearth {

enum class KvPart { kKey = 0, kValue = 1 };

inline size_t kv_element_bytes(const KvSpec& spec) { return spec.dtype == DType::kF32 ? 4 : 2; }

inline std::byte* kv_cell(const KvCache& kv, int32_t block, int32_t layer, KvPart part,
                          int32_t kv_head) {
  const KvSpec& spec = kv.spec;
  const size_t index =
      ((size_t(block) * spec.num_layers + layer) * 2 + size_t(part)) * spec.num_kv_heads + kv_head;
  return kv.data + index * spec.cell_bytes();
}

/// Where element (token, dim) of a cell lies, in elements.
inline int32_t kv_cell_element(const KvSpec& spec, KvPart part, int32_t token, int32_t dim) {
  return part == KvPart::kKey ? dim * spec.block_tokens + token : token * spec.head_dim + dim;
}

}  // namespace hearth
