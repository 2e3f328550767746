// What lies between the q, k, v projections and attention: norms of heads, RoPE, and the KV cache.
#pragma once

#include <span>

#include "../backend.h"
#include "isa.h"
#include "thread_pool.h"

namespace hearth {

/// cos, sin: [T, rope.dim() / 2], once a step for all layers. As Transformers: the angle is
/// position times inv_freq in fp32; cosine and sine of that are rounded once, then scaled.
void rope_table(const StepInput& input, const RopeView& rope, float* cos, float* sin);

/// q = rope(q_norm(q)) in place; rope(k_norm(k)) and v into the layer's KV cells at input.kv_slots.
///
/// cos, sin  from rope_table(); unused where rope has no dimensions
/// q         [T, num_heads * head_dim]
/// k, v      [T, num_kv_heads * head_dim]
void rope_and_write_kv(ThreadPool& pool, const StepInput& input, const RopeView& rope,
                       const float* cos, const float* sin, const KvCache& kv,
                       const AttentionSpec& attention, const NormView& q_norm,
                       const NormView& k_norm, float* q, const float* k, const float* v, Isa isa);

/// Copies whole blocks, all layers of them, in order.
void copy_blocks(const KvCache& kv, std::span<const BlockCopy> copies);

}  // namespace hearth
