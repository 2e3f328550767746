#include "cpu_backend.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "../../error.h"
#include "packing.h"
#include "random_weights.h"
#include "rope_kv.h"
#include "vector_kernels.h"

namespace hearth {
namespace {

constexpr size_t kHugePage = 2 << 20;

// Rows of copies and norms from which on a barrier is worth its microsecond.
constexpr int32_t kParallelRows = 16;

float* floats(const Tensor& tensor) { return reinterpret_cast<float*>(tensor.data); }

int choose_threads(uint32_t option) { return option > 0 ? int(option) : usable_cores(); }

}  // namespace

CpuBackend::CpuBackend(const CpuOptions& options)
    : isa_(choose_isa(options.isa)), activation_dtype_(options.activation_dtype),
      kernels_(kernels_of(isa_)), pool_(choose_threads(options.num_threads)),
      linear_ops_(pool_, kernels_, activation_dtype_), samplers_(isa_) {}

std::string CpuBackend::describe() const {
  return format(
      "device: cpu\nisa: %s\nthreads: %d\nactivation_dtype: %s\nlinear_fp32: %s\n"
      "linear_quantized: %s\nattention: %s\n",
      isa_name(isa_), pool_.size(), activation_dtype_ == DType::kInt8 ? "int8" : "fp32",
      kernels_.linear_f32_name,
      activation_dtype_ == DType::kInt8 ? kernels_.linear_int8_name : kernels_.linear_f32_name,
      vector_kernels(isa_).name);
}

WeightLayout CpuBackend::layout(DType dtype, int32_t rows, int32_t cols) const {
  return tile_layout(dtype, rows, cols);
}

void CpuBackend::pack(const WeightLayout& layout, const std::byte* source, int32_t num_rows,
                      std::byte* dst) const {
  pack_tile(layout, source, num_rows, dst);
}

std::byte* CpuBackend::allocate(size_t bytes) {
  // Huge pages: weights and KV are read from end to end, and a page walk every 4 KiB costs
  // bandwidth.
  const bool huge = bytes >= 2 * kHugePage;
  const size_t alignment = huge ? kHugePage : 64;
  const size_t size = std::max<size_t>((bytes + alignment - 1) / alignment, 1) * alignment;
  void* memory = std::aligned_alloc(alignment, size);
  if (memory == nullptr) {
    throw Error(HEARTH_OUT_OF_MEMORY,
                format("Cannot allocate %zu bytes of memory: lower kv_cache_memory_bytes, "
                       "max_num_batched_tokens or max_model_len",
                       bytes));
  }
  if (huge) madvise(memory, size, MADV_HUGEPAGE);  // a hint: small pages work too
  return static_cast<std::byte*>(memory);
}

void CpuBackend::free(std::byte* device) { std::free(device); }

void CpuBackend::upload(std::byte* device, const void* host, size_t bytes) {
  if (bytes > 0) std::memcpy(device, host, bytes);
}

void CpuBackend::download(void* host, const std::byte* device, size_t bytes) {
  if (bytes > 0) std::memcpy(host, device, bytes);
}

void CpuBackend::randomize(const WeightLayout& layout, std::byte* tiles, int32_t num_tiles,
                           uint64_t seed) {
  std::vector<std::byte> rows(layout.tile_rows * row_bytes(layout.dtype, layout.cols));
  for (int32_t tile = 0; tile < num_tiles; ++tile) {
    random_rows(layout.dtype, layout.cols, layout.tile_rows, seed + uint64_t(tile), rows.data());
    pack_tile(layout, rows.data(), layout.tile_rows, tiles + size_t(tile) * layout.tile_bytes);
  }
}

void CpuBackend::reserve(const StepSizes& sizes) {
  linear_ops_.reserve(std::max(sizes.tokens, sizes.logits_rows), sizes.cols);
  k_.resize(size_t(sizes.tokens) * sizes.kv_cols);
  v_.resize(size_t(sizes.tokens) * sizes.kv_cols);
}

size_t CpuBackend::scratch_bytes(const StepSizes& sizes) const {
  return linear_ops_.scratch_bytes(std::max(sizes.tokens, sizes.logits_rows), sizes.cols) +
         2 * size_t(sizes.tokens) * sizes.kv_cols * sizeof(float);
}

bool CpuBackend::begin_step(const StepInput& input, const RopeView& rope, const KvCache& kv,
                            bool /*same_ops*/) {
  input_ = input;
  rope_ = &rope;
  kv_ = kv;
  result(num_begun_++).samples.clear();

  copy_blocks(kv, input.block_copies);
  const size_t rope_floats = size_t(input.num_tokens()) * rope.inv_freq.size();
  rope_cos_.resize(rope_floats);
  rope_sin_.resize(rope_floats);
  if (rope_floats > 0) rope_table(input, rope, rope_cos_.data(), rope_sin_.data());
  attention_.begin_step();
  return true;
}

template <class RowJob>
void CpuBackend::for_each_row(int32_t rows, const RowJob& job) {
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

void CpuBackend::embed(const WeightView& token_embedding, Tensor out) {
  for_each_row(input_.num_tokens(), [&](int32_t t) {
    int32_t id = input_.token_ids[t];
    // ~r: what row r of the previous step drew.
    if (id < 0) id = int32_t(result(num_begun_ - 2).samples[~id].token);
    const TileSpan tile = find_tiles(token_embedding, id / kTileRows, 1);
    unpack_row(token_embedding.layout, tile.data, id % kTileRows,
               floats(out) + size_t(t) * out.cols);
  });
}

void CpuBackend::add_position(const WeightView& position_embedding, int32_t position_offset,
                              Tensor x) {
  std::vector<float> row(x.cols);
  for (int32_t t = 0; t < input_.num_tokens(); ++t) {
    const int32_t position = input_.positions[t] + position_offset;
    const TileSpan tile = find_tiles(position_embedding, position / kTileRows, 1);
    unpack_row(position_embedding.layout, tile.data, position % kTileRows, row.data());
    float* to = floats(x) + size_t(t) * x.cols;
    for (int32_t i = 0; i < x.cols; ++i) to[i] += row[i];
  }
}

void CpuBackend::norm(Tensor x, const NormView& norm, Tensor out) {
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

void CpuBackend::linear(Tensor x, int32_t rows, const NormView& norm, const LinearView& linear,
                        Tensor residual, Tensor out) {
  const LinearOutput output{linear, floats(out), floats(residual)};
  linear_ops_.run(floats(x), rows, norm, {&output, 1});
}

void CpuBackend::qkv(Tensor x, const NormView& norm, const LinearView& q, const LinearView& k,
                     const LinearView& v, const NormView& q_norm, const NormView& k_norm,
                     const AttentionSpec& attention, Tensor q_out) {
  const LinearOutput outputs[] = {{q, floats(q_out)}, {k, k_.data()}, {v, v_.data()}};
  linear_ops_.run(floats(x), input_.num_tokens(), norm, outputs);
  rope_and_write_kv(pool_, input_, *rope_, rope_cos_.data(), rope_sin_.data(), kv_, attention,
                    q_norm, k_norm, floats(q_out), k_.data(), v_.data(), isa_);
}

void CpuBackend::attention(Tensor q, const AttentionSpec& attention, Tensor out) {
  attention_.run(pool_, input_, kv_, attention, floats(q), floats(out), isa_);
}

void CpuBackend::gate_up(Tensor x, const NormView& norm, const LinearView& gate,
                         const LinearView& up, Activation activation, Tensor out) {
  linear_ops_.run_gated(floats(x), input_.num_tokens(), norm, gate, up, activation, floats(out));
}

void CpuBackend::gather(Tensor x, int32_t first_row, int32_t num_rows, Tensor out) {
  for (int32_t r = 0; r < num_rows; ++r) {
    const int32_t token = input_.logits_tokens[first_row + r];
    std::copy_n(floats(x) + size_t(token) * x.cols, x.cols, floats(out) + size_t(r) * out.cols);
  }
}

void CpuBackend::sample(Tensor logits, int32_t first_row, int32_t num_rows) {
  samplers_.sample(pool_, input_, floats(logits), logits.cols, first_row, num_rows,
                   result(num_begun_ - 1).samples);
}

const StepResult& CpuBackend::finish_step() { return result(num_finished_++); }

std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options) {
  return std::make_unique<CpuBackend>(options);
}

}  // namespace hearth
