// RoPE of a pair and the cells of K and V, for every kernel that rotates and writes them, so that
// the bits cannot differ.
#pragma once

#include "layout.h"
#include "ptx.cuh"

namespace hearth::cuda {

/// A value of a pair that RoPE turns, of which `other` is the other one; each operation rounded on
/// its own.
__device__ __forceinline__ float rotated(float value, float other, float cosine, float sine,
                                         bool is_first) {
  const float product = __fmul_rn(other, sine);
  return __fadd_rn(__fmul_rn(value, cosine), is_first ? -product : product);
}

/// The cell of K (part 0) or V (part 1) that has a slot of the step.
__device__ __forceinline__ std::byte* slot_cell(const KvCache& kv, int32_t layer, int32_t slot,
                                                int part, int32_t kv_head) {
  return cell_address(kv, layer, slot / kv.spec.block_tokens, part, kv_head);
}

/// Element (slot, dim) of that cell.
__device__ __forceinline__ int32_t slot_element(const KvSpec& spec, int32_t slot, int32_t dim) {
  return kv_cell_element(spec, slot % spec.block_tokens, dim);
}

}  // namespace hearth::cuda
