// The ops of backend.h on a CUDA device.
//
// DESIGN
//   Stream   All ops go into one stream and return at once. A step's input is packed into pinned
//            memory, copied by one transfer to an address that only the step's sizes decide, and
//            read there by every kernel. Results come back by one transfer behind the last kernel.
//
//              host    | plan N+1 | pack | copy · launch |          | read results of N |
//              device  |  step N ..............................| copy | step N+1 ......
//
//   Record   A step in which every sequence decodes one token is recorded as a CUDA graph, for a
//            number of sequences rounded up (kBuckets) and a width of the block table rounded up to
//            a power of two; it is launched as a whole from then on. Padding tokens write nothing.
//   Choice   dispatch.h picks the kernel of each op by the loaded code, dtype and number of tokens.
//   Forms    A Tensor that is_operand lies as linear kernels want it (layout.h) where a tensor-core
//            kernel wrote it, else as floats; forms_ knows which.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "../backend.h"
#include "attention.h"
#include "attention_plan.h"
#include "dispatch.h"
#include "linear.h"
#include "sampler.h"
#include "step_buffer.h"
#include "upload_ring.h"

namespace hearth::cuda {

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const CudaOptions& options);
  ~CudaBackend() override;

  std::string describe() const override;
  WeightLayout layout(DType dtype, int32_t rows, int32_t cols) const override;
  void pack(const WeightLayout& layout, const std::byte* source, int32_t num_rows,
            std::byte* dst) const override;

  std::byte* allocate(size_t bytes) override;
  void free(std::byte* device) override;
  void upload(std::byte* device, const void* host, size_t bytes) override;
  void download(void* host, const std::byte* device, size_t bytes) override;
  size_t tensor_bytes(int32_t rows, int32_t cols) const override;
  void randomize(const WeightLayout& layout, std::byte* tiles, int32_t num_tiles,
                 uint64_t seed) override;
  int32_t kv_element(const KvSpec& spec, bool is_value, int32_t token, int32_t dim) const override;

  void reserve(const StepSizes& sizes) override;
  size_t scratch_bytes(const StepSizes& sizes) const override;

  int32_t bind_sampler(const SamplerSpec& spec) override;
  void release_sampler(int32_t sampler) override;

  bool begin_step(const StepInput& input, const RopeView& rope, const KvCache& kv,
                  bool same_ops) override;
  void end_step() override;
  void embed(const WeightView& token_embedding, Tensor out) override;
  void add_position(const WeightView& position_embedding, int32_t position_offset,
                    Tensor x) override;
  void norm(Tensor x, const NormView& norm, Tensor out) override;
  void linear(Tensor x, int32_t rows, const NormView& norm, const LinearView& linear,
              Tensor residual, Tensor out) override;
  void qkv(Tensor x, const NormView& norm, const LinearView& q, const LinearView& k,
           const LinearView& v, const NormView& q_norm, const NormView& k_norm,
           const AttentionSpec& attention, Tensor q_out) override;
  void attention(Tensor q, const AttentionSpec& attention, Tensor out) override;
  void gate_up(Tensor x, const NormView& norm, const LinearView& gate, const LinearView& up,
               Activation activation, Tensor out) override;
  void gather(Tensor x, int32_t first_row, int32_t num_rows, Tensor out) override;
  void sample(Tensor logits, int32_t first_row, int32_t num_rows) override;
  const StepResult& finish_step() override;

  uint64_t num_launches() const override { return num_launches_; }
  uint64_t device_nanoseconds() const override { return device_nanoseconds_; }

 private:
  /// A step in flight, or one whose results are still readable.
  struct Slot {
    PinnedBuffer input;
    PinnedBuffer results;  // DeviceSample, one a sample row
    std::vector<SampleRow> samples;
    Event begun, done;
    bool is_closed = true;  // end_step() was reached
    StepResult result;
  };
  /// Number of sequences, columns of the block table.
  using RecordKey = std::pair<int32_t, int32_t>;
  struct Recorded {
    cudaGraphExec_t graph = nullptr;
    uint64_t num_launches = 0;
  };

  static constexpr uint64_t kSlots = 4;

  void use_device() const;
  void ensure(DeviceBuffer& buffer, size_t bytes);
  int32_t recorded_size(const StepInput& input) const;
  void reserve_step(const StepLayout& layout, size_t input_bytes);
  void launch_recorded(const Recorded& recorded);
  void forget_recorded();
  int32_t padded(int32_t rows) const;
  int32_t rope_half() const {
    const ptrdiff_t floats = step_.rope_sin - step_.rope_cos;
    return step_.num_tokens > 0 ? int32_t(floats / step_.num_tokens) : 0;
  }
  DType form_of(const Tensor& x) const;
  void set_input(LinearArgs& args, Tensor x, const NormView& norm, DType weight);
  const void* prepare_input(Tensor x, int32_t rows, const NormView& norm, DType weight);
  void run_linear(DType weight, const LinearArgs& args);
  Slot& slot(uint64_t step) { return slots_[step % kSlots]; }

  const CudaOptions options_;
  DeviceTraits traits_;
  Stream stream_;
  hearth_device device_;
  UploadRing uploads_;
  std::unique_ptr<DeviceSamplers> samplers_;

  StepSizes sizes_;
  DeviceBuffer input_;     // of a step, see step_buffer.h
  DeviceBuffer rope_;      // cos, then sin
  DeviceBuffer drawn_;     // int32 a sample row
  DeviceBuffer results_;   // DeviceSample a sample row
  DeviceBuffer operand_;   // the normed input of a linear op, 16-bit
  DeviceBuffer floats_;    // the same in fp32
  DeviceBuffer unpacked_;  // an operand turned into floats
  DeviceBuffer k_, v_;     // float[T, num_kv_heads * head_dim] of one layer
  DeviceBuffer partials_;  // of attention
  DeviceBuffer arrivals_;
  std::vector<DeviceBuffer> retired_;        // that recorded steps still use
  std::map<const std::byte*, DType> forms_;  // of operands: F16, BF16, or F32 for floats

  AttentionPlan plan_;
  StepView step_;
  KvCache kv_;
  bool rope_interleaved_ = false;
  int32_t num_input_tokens_ = 0;  // before padding
  bool is_recording_ = false;
  RecordKey record_key_;
  std::map<RecordKey, Recorded> recorded_;
  uint64_t launches_before_ = 0;

  std::array<Slot, kSlots> slots_;
  uint64_t num_begun_ = 0, num_finished_ = 0;
  uint64_t num_launches_ = 0, device_nanoseconds_ = 0;
};

}  // namespace hearth::cuda
