// hearth_engine_options, checked, with their defaults; and how memory is shared out.
#pragma once

#include <cstdint>

#include "../hearth.h"
#include "../model/tensor_table.h"

namespace hearth {

/// The options with every default filled in that needs no model: what is still 0 or AUTO does.
/// device: from choose_device(). Throws Error: INVALID_ARGUMENT that names the field, UNSUPPORTED
/// for what this device cannot do.
hearth_engine_options check_engine_options(const hearth_engine_options& options,
                                           const hearth_device& device);

struct ComputeTypes {
  DType
      activations;  // CPU: kF32 or kInt8. CUDA: kF32, the exact mode, or the operands' kF16, kBF16
  DType kv;
};

/// Fills activation_dtype and kv_cache_dtype in. options: from check_engine_options(). Throws
/// Error(HEARTH_UNSUPPORTED) for a KV cache that the device's attention cannot take.
ComputeTypes choose_types(const hearth_engine_options& options, const hearth_device& device,
                          const LayerTypes& layers);

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

/// Chooses the size of the KV cache, within what may be taken of the device's memory
/// (memory_limit_bytes, or what is free; on CUDA gpu_memory_utilization of all at most): as told by
/// num_kv_blocks or kv_cache_memory_bytes, else what max_num_seqs sequences of max_model_len fill,
/// on the CPU a quarter of the memory at most. It always holds one sequence of max_model_len, so
/// that the best sequence can run alone: a max_model_len that was not given is lowered to that.
/// options: from check_engine_options(). Throws Error: INVALID_ARGUMENT, OUT_OF_MEMORY.
KvPlan plan_kv(const hearth_engine_options& options, const MemoryNeeds& needs,
               const hearth_device& device);

}  // namespace hearth
