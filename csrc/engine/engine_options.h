// hearth_engine_options, checked, with their defaults; and how memory is shared out.
#pragma once

#include <cstdint>

#include "../backend/backend.h"
#include "../hearth.h"
#include "machine.h"

namespace hearth {

/// The options with every default filled in that needs no model: what is still 0 or AUTO does.
/// Throws Error: INVALID_ARGUMENT that names the field, UNSUPPORTED for a device that is not there.
hearth_engine_options check_engine_options(const hearth_engine_options& options);

/// What a model needs besides its KV cache.
struct MemoryNeeds {
  uint64_t weights_bytes;
  uint64_t workspace_bytes;
  uint64_t kv_block_bytes;
  int32_t max_position;
};

struct KvPlan {
  int32_t num_blocks;
  int32_t max_model_len;
};

/// Chooses the size of the KV cache, within what is free: as told by num_kv_blocks or
/// kv_cache_memory_bytes, else the smaller of a quarter of the memory and what max_num_seqs
/// sequences of max_model_len fill. It always holds one sequence of max_model_len, so that the best
/// sequence can run alone: a max_model_len that was not given is lowered to that.
/// options: from check_engine_options(). Throws Error: INVALID_ARGUMENT, OUT_OF_MEMORY.
KvPlan plan_kv(const hearth_engine_options& options, const MemoryNeeds& needs,
               const Machine& machine);

}  // namespace hearth
