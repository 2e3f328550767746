#include "native_model.h"

#include "../backend/cpu/isa.h"
#include "../error.h"
#include "devices.h"
#include "engine_options.h"

namespace hearth {

NativeModel::NativeModel(const ModelSource& source) {
  const std::vector<hearth_device> devices = list_devices(source.options.device_kind);
  hearth_device device = choose_device(source.options.device_kind, source.options.device_index,
                                       devices, "Cannot open engine");
  const hearth_engine_options options = check_engine_options(source.options, device);
  spec_ = parse_spec(source.spec, source.flat, options.flat_bytes);
  check_layers(spec_);
  std::vector<TensorSource> tensors = parse_tensors(
      source.tensors, options.num_tensors, options.num_files, source.flat, options.flat_bytes);
  std::vector<std::string> paths =
      parse_files(source.files, options.num_files, source.flat, options.flat_bytes);
  const ComputeTypes types = choose_types(options, device, layer_types(tensors));
  const uint32_t num_threads =
      options.num_threads > 0 ? options.num_threads : devices.front().num_cores;
  uint32_t isa = HEARTH_ISA_AUTO;
  if (device.kind == HEARTH_DEVICE_CUDA) {
    backend_ = make_cuda_backend(
        {.device_index = int32_t(device.index), .exact = types.activations == DType::kF32});
    device.free_bytes = cuda_free_bytes(int32_t(device.index));
  } else {
    isa = uint32_t(choose_isa(options.isa));
    backend_ = source.cpu_backend({isa, num_threads, types.activations});
  }
  weights_ = std::make_unique<Weights>(backend_, spec_, std::move(tensors), std::move(paths),
                                       options.load_format == HEARTH_LOAD_DUMMY);

  kv_.spec = {spec_.num_layers(), spec_.num_kv_heads, spec_.head_dim, int32_t(options.block_size),
              types.kv};
  const auto workspace_bytes = [&](int32_t max_context) {
    return Transformer::workspace_bytes(
        backend_, spec_, *weights_, kv_.spec,
        {int32_t(options.max_num_batched_tokens), int32_t(options.max_num_seqs), max_context});
  };
  // Contexts can be no longer than this; how long the KV cache lets them be is the plan's to say.
  const int32_t longest =
      options.max_model_len > 0 ? int32_t(options.max_model_len) : spec_.max_position;
  const MemoryNeeds needs{weights_->device_bytes(), workspace_bytes(longest),
                          kv_.spec.block_bytes(), spec_.max_position};
  const KvPlan plan = plan_kv(options, needs, device);
  workspace_bytes_ = workspace_bytes(plan.max_model_len);
  kv_.num_blocks = plan.num_blocks;

  config_ = {
      .scheduler = {.num_blocks = plan.num_blocks,
                    .block_tokens = int32_t(options.block_size),
                    .max_num_seqs = int32_t(options.max_num_seqs),
                    .max_num_batched_tokens = int32_t(options.max_num_batched_tokens),
                    .prefix_caching = options.disable_prefix_caching == 0,
                    // Backend, path and dtypes need no name: this KV cache knows one of each.
                    .fingerprint = spec_.fingerprint,
                    .max_step_seconds =
                        options.max_step_ms == UINT32_MAX ? 0 : options.max_step_ms / 1000.0},
      .limits = {uint32_t(spec_.vocab_size), plan.max_model_len, int32_t(options.max_num_seqs)},
      .manual = options.manual == 1,
      .pipeline_depth = int32_t(options.pipeline_depth),
      .max_queued_requests = options.max_queued_requests,
      .max_queued_tokens = options.max_queued_tokens,
      .ageing = std::chrono::milliseconds(options.priority_ageing_ms),
      .stats = {},
  };
  hearth_engine_stats& stats = config_.stats;
  stats.bytes_total = weights_->file_bytes();
  stats.kv_blocks_total = uint32_t(plan.num_blocks);
  stats.weights_bytes = weights_->device_bytes();
  stats.kv_bytes = uint64_t(plan.num_blocks) * kv_.spec.block_bytes();
  stats.max_model_len = uint32_t(plan.max_model_len);
  stats.max_num_seqs = options.max_num_seqs;
  stats.max_num_batched_tokens = options.max_num_batched_tokens;
  stats.block_size = options.block_size;
  stats.num_threads = num_threads;
  stats.isa = isa;
  stats.activation_dtype = uint32_t(types.activations);
  stats.kv_cache_dtype = uint32_t(types.kv);
  stats.device_kind = device.kind;
  stats.device_index = device.index;
}

std::string NativeModel::describe() const {
  return backend_.describe() +
         format("kv_cache_dtype: %s\nkv_blocks: %d of %d tokens\nmax_model_len: %d\n",
                dtype_name(kv_.spec.dtype), kv_.num_blocks, kv_.spec.block_tokens,
                config_.limits.max_model_len);
}

void NativeModel::load(std::atomic<uint64_t>& bytes_loaded, const std::atomic<bool>& cancelled) {
  weights_->load(int32_t(config_.stats.num_threads), bytes_loaded, cancelled);
  kv_memory_ = backend_.device->allocate(config_.stats.kv_bytes);
  kv_.data = kv_memory_.data();
  const SchedulerOptions& scheduler = config_.scheduler;
  transformer_ = std::make_unique<Transformer>(
      backend_, spec_, *weights_, kv_,
      TransformerLimits{scheduler.max_num_batched_tokens, scheduler.max_num_seqs,
                        config_.limits.max_model_len});
  transformer_->warm_up();
  num_allocations_before_ = backend_.device->num_allocations();
}

}  // namespace hearth
