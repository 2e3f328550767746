// What the engine needs of a model: the seam between scheduling and the forward pass.
#pragma once

#include <atomic>

#include "../backend/cost.h"
#include "../backend/samplers.h"

namespace hearth {

/// Called by one thread, load() first. Tests have a runner of their own, without weights.
///
/// Any call may throw. What it throws ends what was asked for: a load, a request, a step.
/// DeviceLost ends the engine, and nothing but release_sampler() and the destructor is called after
/// it.
class StepRunner {
 public:
  virtual ~StepRunner() = default;

  /// Reads the weights, adding to bytes_loaded as it goes. Throws Error; CLOSING once cancelled is
  /// true.
  virtual void load(std::atomic<uint64_t>& bytes_loaded, const std::atomic<bool>& cancelled) = 0;
  /// Device bytes of activations and scratch; valid after load().
  virtual uint64_t workspace_bytes() const = 0;

  /// Stages a step: forward pass, logits, samples. input stays valid until its finish(). Where this
  /// throws, the step is abandoned, but staged all the same, since the device may have got a part
  /// of it: it is finished in its turn, what finish() then returns or throws is discarded, and
  /// nothing is run before that.
  virtual void run(const StepInput& input) = 0;
  /// Waits for the oldest staged step and returns its results, one for each row of input.samples;
  /// valid until the second next run(). Where this throws, that step is gone.
  virtual const StepResult& finish() = 0;
  /// Bytes and flops of the last run().
  virtual Cost last_cost() const = 0;
  /// How often memory of the device was allocated since load(); 0 as long as steps keep to what
  /// they reserved.
  virtual uint64_t num_allocations() const = 0;
  /// See Ops.
  virtual uint64_t num_launches() const = 0;
  virtual uint64_t device_nanoseconds() const = 0;

  /// See Samplers::bind().
  virtual int32_t bind_sampler(const SamplerSpec& spec) = 0;
  virtual void release_sampler(int32_t sampler) = 0;
};

}  // namespace hearth
