// Sampling on the device: logits to tokens and logprobs without a visit to the host.
//
// DESIGN
//   State    A sampler is a slot of an array on the device, at an address that never changes. What
//            does not fit there (bias, bad words, tokens seen) lies in blocks of a pool.
//            Parameters are the host's, what was drawn is the device's: at pipeline depth 2 the
//            host does not know it yet.
//   Order    The host changes device memory by copies in the stream alone. A block or a slot may be
//            reused at once: what overwrites it comes behind the steps that still read it.
//   Room     A draw makes a penalizing sampler remember one more token at most. The host counts
//            draws, and moves a list before it could be full.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "device.h"
#include "sample_kernel.h"
#include "step_view.h"

namespace hearth::cuda {

/// Device memory in blocks of powers of two bytes. It grows and never shrinks.
class DevicePool {
 public:
  struct Block {
    std::byte* data = nullptr;
    size_t bytes = 0;
  };

  /// At least `bytes`; none for 0. Throws Error(HEARTH_OUT_OF_MEMORY).
  Block allocate(size_t bytes);
  void free(const Block& block);
  size_t bytes() const { return bytes_; }

 private:
  static constexpr size_t kLeastBytes = 256, kArenaBytes = 1 << 20;

  std::vector<DeviceBuffer> arenas_;
  Block rest_;                                    // of the last arena
  std::array<std::vector<std::byte*>, 64> free_;  // by the logarithm of the bytes
  size_t bytes_ = 0;
};

/// The sampling state of all sequences, on the device. bind() and release() are called between
/// steps. The device is the current one in every call.
class DeviceSamplers {
 public:
  explicit DeviceSamplers(Stream& stream);
  ~DeviceSamplers();

  /// Throws Error(HEARTH_OUT_OF_MEMORY), and then has changed nothing.
  int32_t bind(const SamplerSpec& spec);
  void release(int32_t sampler);

  /// Enqueues what the device must know before a step that draws these rows. Not while recording.
  void upload_changes(std::span<const SampleRow> samples);

  /// Draws and scores the rows of step.samples whose logits_row is in [first_row, + num_rows), and
  /// tells step.drawn and the samplers what was drawn. Addresses and grid depend on the sizes in
  /// `step` alone, so that the launch can be recorded. A sampler draws from one row of a step.
  ///
  /// logits   float [num_rows, vocab] on the device; the same afterwards
  /// results  [step.num_samples]
  void sample(const StepView& step, float* logits, int32_t vocab, int32_t first_row,
              int32_t num_rows, DeviceSample* results);

  /// Device memory in use.
  size_t bytes() const { return slots_.bytes() + pool_.bytes(); }

 private:
  static constexpr size_t kMaxSamplers = 16384;

  struct Sampler {
    bool is_bound = false;
    DevicePool::Block memory;      // a SamplerHistory, and behind it TokenEdits
    size_t history_bytes = 0;      // before the edits
    size_t most_edits = 0;         // that there may be by now
    std::vector<std::byte> image;  // of the memory's beginning; empty once the device has it

    size_t room() const { return (memory.bytes - history_bytes) / sizeof(TokenEdit); }
  };
  /// Memory that the device copies from, until the event.
  struct Staging {
    PinnedBuffer memory;
    Event copied;
  };

  void place(int32_t index, const DevicePool::Block& memory);
  void grow(int32_t index);

  Stream& stream_;
  DevicePool pool_;
  DeviceBuffer slots_;                    // SamplerSlot[kMaxSamplers]
  std::vector<SamplerSlot> slots_image_;  // the same on the host
  std::vector<Sampler> samplers_;
  std::vector<int32_t> changed_;  // slots that the device does not have
  std::array<Staging, 4> stagings_;
  size_t next_staging_ = 0;
};

}  // namespace hearth::cuda
