// The ops of ops.h on a CUDA device.
//
// DESIGN
//   Stream   All ops go into one stream and return at once. A step's input is packed into host
//            memory of its slot, copied by one transfer to an address that never changes, and read
//            there by every kernel. Results come back by one transfer behind the last kernel.
//
//              host    | plan N+1 | pack | copy · launch |          | read results of N |
//              device  |  step N ..............................| copy | step N+1 ......
//
//   Record   A step in which every sequence decodes one token is launched as a whole where the
//            recorder has its number of sequences, rounded up. Padding tokens write nothing.
//   Choice   A DispatchTable says which kernel takes a linear op and how it is cut.
//   Forms    A Tensor that is_operand lies as linear kernels want it (layout.h) where a tensor-core
//            kernel wrote it, else as floats: the op that writes it says so in Tensor::form.
#pragma once

#include <array>
#include <vector>

#include "attention.h"
#include "attention_plan.h"
#include "cuda_device.h"
#include "dispatch.h"
#include "linear.h"
#include "recorder.h"
#include "sampler.h"
#include "step_buffer.h"
#include "step_memory.h"

namespace hearth::cuda {

class CudaOps final : public Ops {
 public:
  /// device and samplers outlive the ops.
  CudaOps(CudaDevice& device, CudaSamplers& samplers, bool exact);
  ~CudaOps() override;

  std::string describe() const override;
  size_t tensor_bytes(int32_t rows, int32_t cols) const override;
  void reserve(const StepSizes& sizes) override;
  size_t reserved_bytes(const StepSizes& sizes) const override;
  std::vector<WarmUpStep> warm_ups() const override;

  bool begin_step(const StepInput& input, std::span<const RopeView> ropes, const KvCache& kv,
                  StepUse use) override;
  void end_step() override;
  void embed(const WeightView& token_embedding, Tensor out) override;
  void add_position(const WeightView& position_embedding, int32_t position_offset,
                    Tensor x) override;
  void norm(Tensor x, const NormView& norm, Tensor out) override;
  void linear(Tensor x, const NormView& norm, const LinearView& linear, Tensor residual,
              Tensor out) override;
  void qkv(Tensor x, const NormView& norm, const LinearView& q, const LinearView& k,
           const LinearView& v, const NormView& q_norm, const NormView& k_norm,
           const AttentionSpec& attention, Tensor q_out) override;
  Tensor attention(Tensor q, const AttentionSpec& attention, Tensor out) override;
  Tensor gate_up(Tensor x, const NormView& norm, const LinearView& gate, const LinearView& up,
                 Activation activation, Tensor out) override;
  void gather(Tensor x, int32_t first_row, int32_t num_rows, Tensor out) override;
  void linear_rows(Tensor x, int32_t num_rows, const NormView& norm, const LinearView& linear,
                   Tensor out) override;
  void sample(Tensor logits, int32_t first_row, int32_t num_rows) override;
  const StepResult& finish_step() override;

  uint64_t num_launches() const override { return num_launches_; }
  uint64_t device_nanoseconds() const override { return device_nanoseconds_; }

 private:
  /// A step in flight, or one whose results are still readable.
  struct Slot {
    std::vector<SampleRow> samples;
    Event begun, done;
    bool is_closed = true;  // end_step() was reached
    StepResult result;
  };

  static constexpr uint64_t kSlots = StepMemory::kSlots;

  StepLayout make_layout(const StepInput& input, std::span<const RopeView> ropes,
                         const KvSpec& kv) const;
  void make_angles(std::span<const RopeView> ropes);
  bool is_padded() const { return key_ != kUnrecorded; }
  int32_t padded(int32_t num_rows) const;
  void run_linear(Tensor x, int32_t rows, const NormView& norm, const LinearView& linear,
                  Tensor residual, Tensor out);
  void run_linear(const LinearChoice& choice, DType dtype, LinearOp& args, Tensor x,
                  const NormView& norm);
  const void* make_input(Tensor x, int32_t rows, const NormView& norm, DType weight);
  Slot& slot(uint64_t step) { return slots_[step % kSlots]; }

  CudaDevice& device_;
  CudaSamplers& samplers_;
  Stream& stream_;
  DispatchTable table_;
  RecordedSteps recorded_steps_;  // which there are to be
  Recorder recorder_;             // those that could be recorded

  StepSizes sizes_;
  StepMemory memory_;

  // Of the step that was begun last.
  AttentionPlan plan_;
  StepView step_;
  KvCache kv_;
  std::vector<RopeAngles> angles_;  // by table
  RecordKey key_ = kUnrecorded;     // what it is padded to
  uint64_t launches_before_ = 0;

  std::array<Slot, kSlots> slots_;
  uint64_t num_begun_ = 0, num_finished_ = 0;
  uint64_t num_launches_ = 0, device_nanoseconds_ = 0;
};

}  // namespace hearth::cuda
