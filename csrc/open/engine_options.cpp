#include "engine_options.h"

#include <algorithm>
#include <string>

#include "../error.h"

namespace hearth {

namespace {

constexpr uint32_t kDefaultNumSeqs = 128;
constexpr uint32_t kDefaultBatchedTokens = 512;
constexpr uint32_t kDefaultBatchedTokensCuda = 2048;
constexpr float kDefaultMemoryUtilization = 0.9f;
/// Of a CUDA device's free memory: for what its driver takes beside, and for the loader's pieces.
constexpr uint64_t kDriverBytes = 512u << 20;
constexpr uint32_t kFirstTensorCores = 80;  // compute capability whose kernels take 16-bit operands
constexpr uint32_t kDefaultQueuedRequests = 1024;
constexpr uint64_t kDefaultQueuedTokens = 4u << 20;
constexpr uint32_t kDefaultAgeingMs = 1000;
constexpr uint32_t kDefaultStepMs = 150;
constexpr uint32_t kMaxThreads = 1024;
constexpr uint32_t kMaxBatch = 1u << 16;  // tokens or sequences a step: bounds the workspace

constexpr char kDoing[] = "Cannot open engine";

void check_at_most(const char* field, uint32_t value, uint32_t high) {
  if (value > high) refuse(kDoing, field, format("be 0 to %u", high), std::to_string(value));
}

/// For what this device cannot do, though another may.
[[noreturn]] void refuse_here(const char* field, const std::string& rule,
                              const std::string& value) {
  throw Error(HEARTH_UNSUPPORTED, kDoing, field, rule, value);
}

const char* option_name(uint32_t dtype) {
  switch (dtype) {
    case HEARTH_DTYPE_F32: return "F32 (0)";
    case HEARTH_DTYPE_F16: return "F16 (1)";
    case HEARTH_DTYPE_BF16: return "BF16 (2)";
    default: return "INT8 (6)";
  }
}

void check_dtypes(const hearth_engine_options& options, bool is_cuda) {
  const uint32_t activation = options.activation_dtype, kv = options.kv_cache_dtype;
  if (activation != HEARTH_DTYPE_AUTO && activation != HEARTH_DTYPE_F32 &&
      activation != HEARTH_DTYPE_INT8) {
    refuse(kDoing, "activation_dtype", "be AUTO (255), F32 (0) or INT8 (6)",
           std::to_string(activation));
  }
  if (kv != HEARTH_DTYPE_AUTO && kv != HEARTH_DTYPE_F32 && kv != HEARTH_DTYPE_F16 &&
      kv != HEARTH_DTYPE_BF16) {
    refuse(kDoing, "kv_cache_dtype", "be AUTO (255), F32 (0), F16 (1) or BF16 (2)",
           std::to_string(kv));
  }
  if (is_cuda && activation == HEARTH_DTYPE_INT8) {
    refuse_here("activation_dtype", "be AUTO (255) or F32 (0) on CUDA", option_name(activation));
  }
  if (!is_cuda && kv == HEARTH_DTYPE_BF16) {
    refuse_here("kv_cache_dtype", "be AUTO (255), F32 (0) or F16 (1) on the CPU", option_name(kv));
  }
}

std::string mebibytes(uint64_t bytes) { return format("%.1f MiB", double(bytes) / (1 << 20)); }

/// What may be taken of a device's memory, by everything.
uint64_t memory_budget(const hearth_engine_options& options, const hearth_device& device) {
  if (options.memory_limit_bytes > 0) return options.memory_limit_bytes;
  if (device.kind != HEARTH_DEVICE_CUDA) return device.free_bytes;
  const uint64_t share = uint64_t(double(device.memory_bytes) * options.gpu_memory_utilization);
  return std::min(share, device.free_bytes - std::min(device.free_bytes, kDriverBytes));
}

}  // namespace

hearth_engine_options check_engine_options(const hearth_engine_options& options,
                                           const hearth_device& device) {
  const bool is_cuda = device.kind == HEARTH_DEVICE_CUDA;
  check_at_most("manual", options.manual, 1);
  check_at_most("num_threads", options.num_threads, kMaxThreads);
  check_dtypes(options, is_cuda);
  if (is_cuda && options.isa != HEARTH_ISA_AUTO) {
    refuse_here("isa", "be AUTO (0) on CUDA", std::to_string(options.isa));
  }
  check_at_most("load_format", options.load_format, HEARTH_LOAD_DUMMY);
  if (!(options.gpu_memory_utilization >= 0 && options.gpu_memory_utilization <= 1)) {
    refuse(kDoing, "gpu_memory_utilization", "be 0 to 1",
           format("%g", options.gpu_memory_utilization));
  }
  if (options.block_size != 0 && options.block_size != 16 && options.block_size != 32 &&
      options.block_size != 64) {
    refuse(kDoing, "block_size", "be 16, 32 or 64", std::to_string(options.block_size));
  }
  check_at_most("max_num_seqs", options.max_num_seqs, kMaxBatch);
  check_at_most("max_num_batched_tokens", options.max_num_batched_tokens, kMaxBatch);
  check_at_most("pipeline_depth", options.pipeline_depth, 2);
  check_at_most("disable_prefix_caching", options.disable_prefix_caching, 1);
  check_at_most("reserved", options.reserved, 0);

  hearth_engine_options filled = options;
  const auto fill = [](auto& field, auto value) {
    if (field == 0) field = value;
  };
  // A decode takes a token of the budget: what is not given follows what is.
  fill(filled.max_num_seqs, options.max_num_batched_tokens > 0
                                ? std::min(kDefaultNumSeqs, options.max_num_batched_tokens)
                                : kDefaultNumSeqs);
  fill(filled.max_num_batched_tokens,
       std::max(is_cuda ? kDefaultBatchedTokensCuda : kDefaultBatchedTokens, filled.max_num_seqs));
  if (filled.max_num_batched_tokens < filled.max_num_seqs) {
    refuse(kDoing, "max_num_batched_tokens",
           format("be >= max_num_seqs, which is %u", filled.max_num_seqs),
           std::to_string(filled.max_num_batched_tokens));
  }
  filled.device_kind = device.kind;
  filled.device_index = device.index;
  fill(filled.gpu_memory_utilization, kDefaultMemoryUtilization);
  fill(filled.block_size, 16u);
  fill(filled.max_queued_requests, kDefaultQueuedRequests);
  fill(filled.max_queued_tokens, kDefaultQueuedTokens);
  fill(filled.pipeline_depth, is_cuda ? 2u : 1u);
  fill(filled.priority_ageing_ms, kDefaultAgeingMs);
  fill(filled.max_step_ms, kDefaultStepMs);
  return filled;
}

ComputeTypes choose_types(const hearth_engine_options& options, const hearth_device& device,
                          const LayerTypes& layers) {
  const bool is_cuda = device.kind == HEARTH_DEVICE_CUDA;
  DType activations = DType(options.activation_dtype);
  if (options.activation_dtype == HEARTH_DTYPE_AUTO) {
    if (is_cuda) {
      activations = device.best_isa >= kFirstTensorCores ? layers.operands : DType::kF32;
    } else {
      activations = layers.any_quantized ? DType::kInt8 : DType::kF32;
    }
  }
  const bool exact = activations == DType::kF32;
  if (options.kv_cache_dtype != HEARTH_DTYPE_AUTO) {
    if (is_cuda && !exact && DType(options.kv_cache_dtype) != activations) {
      refuse_here("kv_cache_dtype",
                  format("be AUTO (255) or %s, as the activations are, or activation_dtype F32 (0)",
                         option_name(uint32_t(activations))),
                  option_name(options.kv_cache_dtype));
    }
    return {activations, DType(options.kv_cache_dtype)};
  }
  return {activations, exact || is_cuda ? activations : DType::kF16};
}

KvPlan plan_kv(const hearth_engine_options& options, const MemoryNeeds& needs,
               const hearth_device& device) {
  const bool is_cuda = device.kind == HEARTH_DEVICE_CUDA;
  if (options.max_model_len > uint32_t(needs.max_position)) {
    refuse(kDoing, "max_model_len",
           format("be at most %d, the model's max_position", needs.max_position),
           std::to_string(options.max_model_len));
  }
  const uint64_t block_tokens = options.block_size;
  const uint64_t wanted_len =
      options.max_model_len > 0 ? options.max_model_len : needs.max_position;
  const uint64_t blocks_of_sequence = (wanted_len + block_tokens - 1) / block_tokens;
  const uint64_t max_blocks = INT32_MAX / block_tokens;  // slots are 32-bit

  const uint64_t memory = memory_budget(options, device);
  const uint64_t others = needs.weights_bytes + needs.workspace_bytes;
  const uint64_t blocks_that_fit = memory > others ? (memory - others) / needs.kv_block_bytes : 0;

  uint64_t num_blocks;
  const char* lower = "max_model_len";
  if (options.num_kv_blocks > 0) {
    num_blocks = options.num_kv_blocks;
    lower = "num_kv_blocks";
  } else if (options.kv_cache_memory_bytes > 0) {
    num_blocks = options.kv_cache_memory_bytes / needs.kv_block_bytes;
    lower = "kv_cache_memory_bytes";
  } else {
    const uint64_t all_sequences = blocks_of_sequence * options.max_num_seqs;
    num_blocks = std::min(all_sequences, blocks_that_fit);
    // Other processes live in the CPU's memory too.
    if (!is_cuda) num_blocks = std::min(num_blocks, memory / 4 / needs.kv_block_bytes);
    // A length that was asked for may take more than its share.
    if (options.max_model_len > 0) num_blocks = std::max(num_blocks, blocks_of_sequence);
    num_blocks = std::max<uint64_t>(num_blocks, 1);
  }
  if (num_blocks < 1) {
    refuse(kDoing, "kv_cache_memory_bytes",
           format("be >= %llu, a block", (unsigned long long)needs.kv_block_bytes),
           std::to_string(options.kv_cache_memory_bytes));
  }
  num_blocks = std::min(num_blocks, max_blocks);
  if (num_blocks > blocks_that_fit) {
    if (blocks_that_fit == 0) lower = "max_num_batched_tokens or take a smaller model";
    const std::string free =
        is_cuda ? format(" (%s are free, gpu_memory_utilization is %g)",
                         mebibytes(device.free_bytes).c_str(), options.gpu_memory_utilization)
                : "";
    throw Error(HEARTH_OUT_OF_MEMORY,
                format("Cannot open engine: %s of memory are needed (weights %s, KV cache %s, "
                       "workspace %s) and %s may be taken%s: lower %s",
                       mebibytes(others + num_blocks * needs.kv_block_bytes).c_str(),
                       mebibytes(needs.weights_bytes).c_str(),
                       mebibytes(num_blocks * needs.kv_block_bytes).c_str(),
                       mebibytes(needs.workspace_bytes).c_str(), mebibytes(memory).c_str(),
                       free.c_str(), lower));
  }

  const uint64_t capacity = num_blocks * block_tokens;
  if (options.max_model_len > capacity) {
    refuse(kDoing, "max_model_len",
           format("be <= %llu, what the KV cache of %llu blocks holds",
                  (unsigned long long)capacity, (unsigned long long)num_blocks),
           std::to_string(options.max_model_len));
  }
  const uint64_t max_model_len = std::min(wanted_len, capacity);
  if (options.max_queued_tokens < max_model_len) {
    refuse(kDoing, "max_queued_tokens",
           format("be >= max_model_len, which is %llu", (unsigned long long)max_model_len),
           std::to_string(options.max_queued_tokens));
  }
  return {int32_t(num_blocks), int32_t(max_model_len)};
}

}  // namespace hearth
