// A model on a device, as the engine runs it: backend, weights, KV cache and forward pass in one.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "../engine/engine_loop.h"
#include "../engine/step_runner.h"
#include "../model/transformer.h"

namespace hearth {

/// The arguments of hearth_engine_open; pointers are read by the constructor only.
struct ModelSource {
  const hearth_engine_options& options;
  const hearth_model_spec& spec;
  const hearth_tensor* tensors;
  const hearth_file* files;
  const uint8_t* flat;
  /// Makes the CPU's backend: tests put a device of their own below it.
  std::function<Backend(const CpuOptions&)> cpu_backend = [](const CpuOptions& cpu) {
    return make_cpu_backend(cpu);
  };
};

class NativeModel final : public StepRunner {
 public:
  /// Checks everything that can be checked without reading weights, and plans memory. Throws Error.
  explicit NativeModel(const ModelSource& source);

  const EngineConfig& config() const { return config_; }
  /// `key: value` lines.
  std::string describe() const;

  void load(std::atomic<uint64_t>& bytes_loaded, const std::atomic<bool>& cancelled) override;
  uint64_t workspace_bytes() const override { return workspace_bytes_; }
  void run(const StepInput& input) override { transformer_->run(input); }
  const StepResult& finish() override { return transformer_->finish(); }
  Cost last_cost() const override { return transformer_->last_cost(); }
  uint64_t num_allocations() const override {
    return backend_.device->num_allocations() - num_allocations_before_;
  }
  uint64_t num_launches() const override { return backend_.ops->num_launches(); }
  uint64_t device_nanoseconds() const override { return backend_.ops->device_nanoseconds(); }
  int32_t bind_sampler(const SamplerSpec& spec) override { return backend_.samplers->bind(spec); }
  void release_sampler(int32_t sampler) override { backend_.samplers->release(sampler); }

 private:
  ModelSpec spec_;
  Backend backend_;
  std::unique_ptr<Weights> weights_;
  Memory kv_memory_;
  KvCache kv_;
  std::unique_ptr<Transformer> transformer_;  // after load()
  uint64_t workspace_bytes_ = 0;
  uint64_t num_allocations_before_ = 0;  // when load() was done
  EngineConfig config_;
};

}  // namespace hearth
