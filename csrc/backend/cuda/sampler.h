// Sampling on the device: logits to tokens and logprobs without a visit to the host.
//
// DESIGN
//   State    A sampler is a slot of an array on the device, at an address that never changes. What
//            does not fit there (bias, bad words, tokens seen) lies in one piece of an arena that is
//            as large as its sequence will ever need, so that nothing grows while it draws.
//            Parameters are the host's, what was drawn is the device's: at pipeline depth 2 the
//            host does not know it yet.
//   Order    The host changes device memory by copies in the stream alone. A piece or a slot may be
//            reused at once: what overwrites it comes behind the steps that still read it.
//   Memory   Slots, arena and what uploads go through are taken when a model is opened. Where the
//            arena is full, a sequence waits for one that ends.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "cuda_device.h"
#include "range_allocator.h"
#include "sample_kernel.h"
#include "step_view.h"

namespace hearth::cuda {

/// The sampling state of all sequences, on the device. bind() and release() are called between
/// steps. The device is the current one in every call.
class CudaSamplers final : public Samplers {
 public:
  /// The device outlives it.
  explicit CudaSamplers(CudaDevice& device) : device_(device) {}
  ~CudaSamplers() override;

  /// Takes the memory for samplers of sizes.sequences sequences. Throws Error(HEARTH_OUT_OF_MEMORY),
  /// and as reserved_bytes().
  void reserve(const StepSizes& sizes);
  /// Device bytes that reserve() takes. Throws Error(HEARTH_UNSUPPORTED) for a vocabulary that no
  /// kernel can draw from.
  static size_t reserved_bytes(const StepSizes& sizes);

  int32_t bind(const SamplerSpec& spec) override;
  void release(int32_t sampler) override;

  /// Enqueues what the device must know before a step. Not while recording.
  void upload_changes();

  /// Draws and scores the rows of step.samples whose logits_row is in [first_row, + num_rows), and
  /// tells step.drawn and the samplers what was drawn. Addresses and grid depend on the sizes in
  /// `step` alone, so that the launch can be recorded. A sampler draws from one row of a step.
  ///
  /// logits   float [num_rows, vocab] on the device; the same afterwards
  /// results  [step.num_samples]
  void sample(const StepView& step, float* logits, int32_t vocab, int32_t first_row,
              int32_t num_rows, DeviceSample* results);

 private:
  struct Sampler {
    bool is_bound = false;
    size_t offset = 0, bytes = 0;  // in the arena: a SamplerHistory, and behind it TokenEdits
    std::vector<std::byte> image;  // of its beginning; empty once the device has it
  };
  /// Host memory that the device copies from, until the event.
  struct Staging {
    Memory memory;
    Event copied;
  };

  void copy_through(Staging& staging, std::byte* to, const void* from, size_t bytes, size_t& used);
  void wait_for(Staging& staging);

  CudaDevice& device_;
  size_t vocab_size_ = 0;
  Memory slots_;                          // SamplerSlot, one a sampler
  Memory arena_;                          // what samplers have besides
  RangeAllocator pieces_{0};              // of the arena
  std::vector<SamplerSlot> slots_image_;  // the same as slots_, on the host
  std::vector<Sampler> samplers_;
  std::vector<int32_t> changed_;  // slots that the device does not have
  std::array<Staging, 4> stagings_;
  size_t next_staging_ = 0;
};

}  // namespace hearth::cuda
