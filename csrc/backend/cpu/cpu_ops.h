// The ops of ops.h on CPU cores. They run at once, on the calling thread and the pool's others.
#pragma once

#include <array>
#include <vector>

#include "../backend.h"
#include "attention.h"
#include "isa.h"
#include "kernels.h"
#include "kv_cells.h"
#include "linear.h"
#include "sample.h"
#include "thread_pool.h"

namespace hearth {

class CpuOps final : public Ops {
 public:
  /// Throws Error(HEARTH_UNSUPPORTED) for an instruction path that this CPU lacks. samplers
  /// outlives the ops.
  CpuOps(const CpuOptions& options, CpuSamplers& samplers);

  std::string describe() const override;
  size_t tensor_bytes(int32_t rows, int32_t cols) const override {
    return size_t(rows) * cols * sizeof(float);
  }
  void reserve(const StepSizes& sizes) override;
  size_t reserved_bytes(const StepSizes& sizes) const override;
  std::vector<WarmUpStep> warm_ups() const override { return {}; }

  bool begin_step(const StepInput& input, std::span<const RopeView> ropes, const KvCache& kv,
                  StepUse use) override;
  void end_step() override {}
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
  uint64_t num_launches() const override { return 0; }
  uint64_t device_nanoseconds() const override { return 0; }

 private:
  // Results of the last steps: begun and unfinished ones (2 at most), and those still readable.
  static constexpr uint64_t kResults = 4;

  template <class RowJob>
  void for_each_row(int32_t rows, const RowJob& job);
  StepResult& result(uint64_t step) { return results_[step % kResults]; }

  const Isa isa_;
  const DType activation_dtype_;
  const Kernels& kernels_;
  ThreadPool pool_;
  LinearOps linear_ops_;
  Attention attention_;
  CpuSamplers& samplers_;

  std::vector<float> k_, v_;  // [max_tokens, num_kv_heads * head_dim] of one layer
  /// cos and sin of a RoPE table's angles for the step's tokens, [T, dim / 2].
  struct RopeAngles {
    std::vector<float> cos, sin;
  };
  std::vector<RopeAngles> angles_;  // by table

  StepInput input_;  // of the step that runs
  std::span<const RopeView> ropes_;
  KvCache kv_;
  std::array<StepResult, kResults> results_;
  uint64_t num_begun_ = 0, num_finished_ = 0;
};

}  // namespace hearth
