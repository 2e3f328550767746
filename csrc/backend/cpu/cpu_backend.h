// The ops of backend.h on CPU cores. Ops run at once, on the calling thread and the pool's others.
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

class CpuBackend final : public Backend {
 public:
  /// Throws Error(HEARTH_UNSUPPORTED) for an instruction path that this CPU lacks.
  explicit CpuBackend(const CpuOptions& options);

  std::string describe() const override;

  WeightLayout layout(DType dtype, int32_t rows, int32_t cols) const override;
  void pack(const WeightLayout& layout, const std::byte* source, int32_t num_rows,
            std::byte* dst) const override;

  std::byte* allocate(size_t bytes) override;
  void free(std::byte* device) override;
  void upload(std::byte* device, const void* host, size_t bytes) override;
  void download(void* host, const std::byte* device, size_t bytes) override;
  size_t tensor_bytes(int32_t rows, int32_t cols) const override {
    return size_t(rows) * cols * sizeof(float);
  }
  void randomize(const WeightLayout& layout, std::byte* tiles, int32_t num_tiles,
                 uint64_t seed) override;
  int32_t kv_element(const KvSpec& spec, bool is_value, int32_t token, int32_t dim) const override {
    return kv_cell_element(spec, is_value ? KvPart::kValue : KvPart::kKey, token, dim);
  }
  void reserve(const StepSizes& sizes) override;
  size_t scratch_bytes(const StepSizes& sizes) const override;

  int32_t bind_sampler(const SamplerSpec& spec) override { return samplers_.bind(spec); }
  void release_sampler(int32_t sampler) override { samplers_.release(sampler); }

  bool begin_step(const StepInput& input, const RopeView& rope, const KvCache& kv,
                  bool same_ops) override;
  void end_step() override {}
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
  Samplers samplers_;

  std::vector<float> k_, v_;                // [max_tokens, num_kv_heads * head_dim] of one layer
  std::vector<float> rope_cos_, rope_sin_;  // [T, rope dim / 2]

  StepInput input_;  // of the step that runs
  const RopeView* rope_ = nullptr;
  KvCache kv_;
  std::array<StepResult, kResults> results_;
  uint64_t num_begun_ = 0, num_finished_ = 0;
};

}  // namespace hearth
