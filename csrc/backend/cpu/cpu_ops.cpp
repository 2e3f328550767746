#include "cpu_ops.h"

#include <algorithm>

#include "../../error.h"
#include "cpu_device.h"
#include "packing.h"
#include "rope_kv.h"
#include "vector_kernels.h"

namespace hearth {
namespace {

// Rows of copies and norms from which on a barrier is worth its microsecond.
constexpr int32_t kParallelRows = 16;

int choose_threads(uint32_t option) { return option > 0 ? int(option) : usable_cores(); }

}  // namespace

CpuOps::CpuOps(const CpuOptions& options, CpuSamplers& samplers)
    : isa_(choose_isa(options.isa)), activation_dtype_(options.activation_dtype),
      kernels_(kernels_of(isa_)), pool_(choose_threads(options.num_threads)),
      linear_ops_(pool_, kernels_, activation_dtype_), samplers_(samplers) {}

std::string CpuOps::describe() const {
  return format(
      "isa: %s\nthreads: %d\nactivation_dtype: %s\nlinear_fp32: %s\nlinear_quantized: %s\n"
      "attention: %s\n",
      isa_name(isa_), pool_.size(), dtype_name(activation_dtype_), kernels_.linear_f32_name,
      activation_dtype_ == DType::kInt8 ? kernels_.linear_int8_name : kernels_.linear_f32_name,
      vector_kernels(isa_).name);
}

void CpuOps::reserve(const StepSizes& sizes) {
  linear_ops_.reserve(std::max(sizes.tokens, sizes.logits_rows), sizes.cols);
  const size_t kv_floats = size_t(sizes.tokens) * sizes.kv.num_kv_heads * sizes.kv.head_dim;
  k_.resize(kv_floats);
  v_.resize(kv_floats);
}

size_t CpuOps::reserved_bytes(const StepSizes& sizes) const {
  const size_t kv_cols = size_t(sizes.kv.num_kv_heads) * sizes.kv.head_dim;
  return linear_ops_.scratch_bytes(std::max(sizes.tokens, sizes.logits_rows), sizes.cols) +
         2 * sizes.tokens * kv_cols * sizeof(float);
}

bool CpuOps::begin_step(const StepInput& input, std::span<const RopeView> ropes, const KvCache& kv,
                        StepUse /*use*/) {
  input_ = input;
  ropes_ = ropes;
  kv_ = kv;
  result(num_begun_++).samples.clear();

  copy_blocks(kv, input.block_copies);
  angles_.resize(ropes.size());
  for (size_t i = 0; i < ropes.size(); ++i) {
    const size_t floats = size_t(input.num_tokens()) * ropes[i].inv_freq.size();
    angles_[i].cos.resize(floats);
    angles_[i].sin.resize(floats);
    if (floats > 0) rope_table(input, ropes[i], angles_[i].cos.data(), angles_[i].sin.data());
  }
  attention_.begin_step();
  return true;
}

template <class RowJob>
void CpuOps::for_each_row(int32_t rows, const RowJob& job) {
  if (rows < kParallelRows) {
    for (int32_t row = 0; row < rows; ++row) job(row);
    return;
  }
  WorkQueue queue(rows, 8);
  pool_.run([&](int) {
    for (int32_t row, end; queue.take(row, end);) {
      for (; row < end; ++row) job(row);
    }
  });
}

void CpuOps::embed(const WeightView& token_embedding, Tensor out) {
  for_each_row(input_.num_tokens(), [&](int32_t t) {
    int32_t id = input_.token_ids[t];
    // ~r: what row r of the previous step drew.
    if (id < 0) id = int32_t(result(num_begun_ - 2).samples[~id].token);
    const TileSpan tile = find_tiles(token_embedding, id / kTileRows, 1);
    unpack_row(token_embedding.layout, tile.data, id % kTileRows,
               floats(out) + size_t(t) * out.cols);
  });
}

void CpuOps::add_position(const WeightView& position_embedding, int32_t position_offset, Tensor x) {
  std::vector<float> row(x.cols);
  for (int32_t t = 0; t < input_.num_tokens(); ++t) {
    const int32_t position = input_.positions[t] + position_offset;
    const TileSpan tile = find_tiles(position_embedding, position / kTileRows, 1);
    unpack_row(position_embedding.layout, tile.data, position % kTileRows, row.data());
    float* to = floats(x) + size_t(t) * x.cols;
    for (int32_t i = 0; i < x.cols; ++i) to[i] += row[i];
  }
}

void CpuOps::norm(Tensor x, const NormView& norm, Tensor out) {
  const NormRow row{uint32_t(norm.kind), norm.weight, norm.bias, norm.size, norm.eps};
  for_each_row(input_.num_tokens(), [&](int32_t t) {
    const float* from = floats(x) + size_t(t) * x.cols;
    float* to = floats(out) + size_t(t) * out.cols;
    if (norm.kind != NormKind::kNone) {
      kernels_.norm(row, from, to);
    } else if (from != to) {
      std::copy_n(from, x.cols, to);
    }
  });
}

void CpuOps::linear(Tensor x, const NormView& norm, const LinearView& linear, Tensor residual,
                    Tensor out) {
  const LinearOutput output{linear, floats(out), floats(residual)};
  linear_ops_.run(floats(x), input_.num_tokens(), norm, {&output, 1});
}

void CpuOps::linear_rows(Tensor x, int32_t num_rows, const NormView& norm, const LinearView& linear,
                         Tensor out) {
  const LinearOutput output{linear, floats(out)};
  linear_ops_.run(floats(x), num_rows, norm, {&output, 1});
}

void CpuOps::qkv(Tensor x, const NormView& norm, const LinearView& q, const LinearView& k,
                 const LinearView& v, const NormView& q_norm, const NormView& k_norm,
                 const AttentionSpec& attention, Tensor q_out) {
  const LinearOutput outputs[] = {{q, floats(q_out)}, {k, k_.data()}, {v, v_.data()}};
  linear_ops_.run(floats(x), input_.num_tokens(), norm, outputs);
  static const RopeView kNoRope;
  const bool turns = attention.rope >= 0;
  const RopeView& rope = turns ? ropes_[size_t(attention.rope)] : kNoRope;
  const RopeAngles* const angles = turns ? &angles_[size_t(attention.rope)] : nullptr;
  rope_and_write_kv(pool_, input_, rope, turns ? angles->cos.data() : nullptr,
                    turns ? angles->sin.data() : nullptr, kv_, attention, q_norm, k_norm,
                    floats(q_out), k_.data(), v_.data(), isa_);
}

Tensor CpuOps::attention(Tensor q, const AttentionSpec& attention, Tensor out) {
  attention_.run(pool_, input_, kv_, attention, floats(q), floats(out), isa_);
  return out;
}

Tensor CpuOps::gate_up(Tensor x, const NormView& norm, const LinearView& gate, const LinearView& up,
                       Activation activation, Tensor out) {
  linear_ops_.run_gated(floats(x), input_.num_tokens(), norm, gate, up, activation, floats(out));
  return out;
}

void CpuOps::gather(Tensor x, int32_t first_row, int32_t num_rows, Tensor out) {
  for (int32_t r = 0; r < num_rows; ++r) {
    const int32_t token = input_.logits_tokens[first_row + r];
    std::copy_n(floats(x) + size_t(token) * x.cols, x.cols, floats(out) + size_t(r) * out.cols);
  }
}

void CpuOps::sample(Tensor logits, int32_t first_row, int32_t num_rows) {
  samplers_.sample(pool_, input_, floats(logits), logits.cols, first_row, num_rows,
                   result(num_begun_ - 1).samples);
}

const StepResult& CpuOps::finish_step() { return result(num_finished_++); }

Backend make_cpu_backend(const CpuOptions& options) {
  return make_cpu_backend(options, std::make_unique<CpuDevice>());
}

Backend make_cpu_backend(const CpuOptions& options, std::unique_ptr<Device> device) {
  auto packer = make_cpu_packer(*device);
  auto samplers = std::make_unique<CpuSamplers>(choose_isa(options.isa));
  auto ops = std::make_unique<CpuOps>(options, *samplers);
  return {std::move(device), std::move(packer), std::move(samplers), std::move(ops)};
}

}  // namespace hearth
