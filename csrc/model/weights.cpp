#include "weights.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "../backend/half.h"
#include "../error.h"
#include "weight_loader.h"

namespace hearth {
namespace {

constexpr size_t kVectorAlignment = 16;  // floats: 64 bytes
/// Pages that are allocated together: a thousand allocations would take a tenth of a second.
constexpr size_t kArenaPages = 64;

[[noreturn]] void reject(const std::string& field, const std::string& rule,
                         const std::string& value = "") {
  refuse("Cannot open model", field, rule, value);
}

}  // namespace

Weights::Weights(Backend& backend, const ModelSpec& spec, std::vector<TensorSource> tensors,
                 std::vector<std::string> paths, bool dummy)
    : layers(size_t(spec.num_layers())), backend_(backend), dummy_(dummy),
      tensors_(std::move(tensors)) {
  const int32_t hidden = spec.hidden_size;
  const int32_t q_size = spec.num_heads * spec.head_dim;
  const int32_t kv_size = spec.num_kv_heads * spec.head_dim;
  TensorTable table(tensors_);

  const auto linear = [&](const char* what, LinearView& view, uint32_t role, int32_t layer,
                          int32_t rows, int32_t cols) {
    const TensorSource& weight = table.require(what, role, layer, rows, cols);
    place(weight, view.weight);
    linear_dtypes_ |= 1u << uint32_t(view.weight.layout.dtype);
    if (role >= HEARTH_TENSOR_ATTENTION_NORM_WEIGHT) {  // roles of a layer: the bias comes next
      if (const auto* bias = table.take(role + 1, layer, 1, rows)) place(*bias, view.bias);
    }
  };
  const auto norm = [&](const char* what, NormView& view, uint32_t role, int32_t layer,
                        int32_t size, bool has_bias) {
    view.kind = has_bias ? spec.norm_kind : NormKind::kRms;
    view.size = size;
    view.eps = spec.norm_eps;
    place(table.require(what, role, layer, 1, size), view.weight);
    if (!has_bias) return;
    if (const auto* bias = table.take(role + 1, layer, 1, size)) place(*bias, view.bias);
  };

  place(table.require("token_embedding", HEARTH_TENSOR_TOKEN_EMBEDDING, 0, spec.vocab_size,
                      spec.embedding_size),
        token_embedding);
  if (spec.learned_positions) {
    place(table.require("position_embedding", HEARTH_TENSOR_POSITION_EMBEDDING, 0,
                        spec.max_position + spec.position_offset, hidden),
          position_embedding);
  }
  if (spec.projects_embeddings()) {
    linear("project_in", project_in, HEARTH_TENSOR_PROJECT_IN, 0, hidden, spec.embedding_size);
    linear("project_out", project_out, HEARTH_TENSOR_PROJECT_OUT, 0, spec.embedding_size, hidden);
  }
  for (int32_t i = 0; i < spec.num_layers(); ++i) {
    LayerWeights& layer = layers[i];
    norm("attention_norm", layer.attention_norm, HEARTH_TENSOR_ATTENTION_NORM_WEIGHT, i, hidden,
         true);
    linear("q", layer.q, HEARTH_TENSOR_Q_WEIGHT, i, q_size, hidden);
    linear("k", layer.k, HEARTH_TENSOR_K_WEIGHT, i, kv_size, hidden);
    linear("v", layer.v, HEARTH_TENSOR_V_WEIGHT, i, kv_size, hidden);
    linear("o", layer.o, HEARTH_TENSOR_O_WEIGHT, i, hidden, q_size);
    if (const auto* q_norm = table.take(HEARTH_TENSOR_Q_NORM_WEIGHT, i, 1, spec.head_dim)) {
      layer.q_norm = {NormKind::kRms, nullptr, nullptr, spec.head_dim, spec.norm_eps};
      place(*q_norm, layer.q_norm.weight);
      norm("k_norm", layer.k_norm, HEARTH_TENSOR_K_NORM_WEIGHT, i, spec.head_dim, false);
    }
    norm("mlp_norm", layer.mlp_norm, HEARTH_TENSOR_MLP_NORM_WEIGHT, i, hidden, true);
    if (spec.layers[size_t(i)].gated) {
      linear("gate", layer.gate, HEARTH_TENSOR_GATE_WEIGHT, i, spec.intermediate_size, hidden);
    }
    linear("up", layer.up, HEARTH_TENSOR_UP_WEIGHT, i, spec.intermediate_size, hidden);
    if (spec.layers[size_t(i)].gated) {
      backend_.packer->check_gated(layer.gate.weight.layout, layer.up.weight.layout);
    }
    linear("down", layer.down, HEARTH_TENSOR_DOWN_WEIGHT, i, hidden, spec.intermediate_size);
  }
  if (spec.final_norm) {
    norm("final_norm", final_norm, HEARTH_TENSOR_FINAL_NORM_WEIGHT, 0, hidden, true);
  }
  if (spec.tied_embeddings) {
    linear_dtypes_ |= 1u << uint32_t(token_embedding.layout.dtype);
  } else {
    linear("lm_head", lm_head, HEARTH_TENSOR_LM_HEAD, 0, spec.vocab_size, spec.embedding_size);
  }
  table.expect_empty();

  if (!dummy) {
    for (std::string& path : paths) files_.emplace_back(std::move(path));
  }
  for (const TensorSource& tensor : tensors_) {
    file_bytes_ += tensor.num_bytes;
    if (dummy) continue;
    const WeightsFile& file = files_[tensor.file];
    if (tensor.offset > file.size() || tensor.num_bytes > file.size() - tensor.offset) {
      reject("tensor " + tensor.name,
             format("lie inside %s of %llu bytes", file.path().c_str(),
                    (unsigned long long)file.size()),
             format("%llu bytes at %llu", (unsigned long long)tensor.num_bytes,
                    (unsigned long long)tensor.offset));
    }
  }
  if (!page_bytes_.empty()) {
    device_bytes_ = (page_bytes_.size() - 1) * kPageBytes + page_bytes_.back();
  }
  device_bytes_ += PageTable::device_bytes(uint32_t(page_bytes_.size()));
  device_bytes_ += vector_floats_ * sizeof(float);
}

void Weights::place(const TensorSource& tensor, WeightView& view) {
  view.layout = backend_.packer->layout(packer_format(tensor.format), tensor.rows, tensor.cols);
  const size_t tile_bytes = view.layout.tile_bytes;
  if (tile_bytes > kPageBytes) {
    throw Error(HEARTH_UNSUPPORTED,
                format("Cannot place tensor %s: a tile must fit a page of %zu bytes: current size "
                       "is %zu",
                       tensor.name.c_str(), kPageBytes, tile_bytes));
  }
  view.tiles_per_page = int32_t(kPageBytes / tile_bytes);
  const int32_t num_tiles = view.layout.num_tiles();
  for (int32_t tile = 0; tile < num_tiles;) {
    if (page_bytes_.empty() || page_bytes_.back() + tile_bytes > kPageBytes) {
      page_bytes_.push_back(0);
    }
    size_t& used = page_bytes_.back();
    const int32_t fitting =
        std::min<int32_t>(num_tiles - tile, int32_t((kPageBytes - used) / tile_bytes));
    if (tile == 0) view.first_offset = uint32_t(used), view.first_tiles = fitting;
    runs_.push_back(
        {&tensor, &view, tile, fitting, uint32_t(page_bytes_.size() - 1), uint32_t(used)});
    used += fitting * tile_bytes;
    tile += fitting;
  }
}

void Weights::place(const TensorSource& tensor, const float*& vector) {
  if (group_cols(tensor.format) > 1) {
    reject("dtype of tensor " + tensor.name, "be F32, F16 or BF16: it is a vector");
  }
  vectors_.push_back({&tensor, &vector, vector_floats_});
  const size_t size = size_t(tensor.cols);
  vector_floats_ += (size + kVectorAlignment - 1) / kVectorAlignment * kVectorAlignment;
}

void Weights::allocate() {
  Device& device = *backend_.device;
  for (size_t first = 0; first < page_bytes_.size(); first += kArenaPages) {
    const size_t end = std::min(first + kArenaPages, page_bytes_.size());
    // Pages lie at multiples of their size in an arena: out of step with the device's own pages,
    // decoding Llama-2-13B takes half a percent longer.
    arenas_.push_back(device.allocate((end - first - 1) * kPageBytes + page_bytes_[end - 1]));
    for (size_t page = first; page < end; ++page) {
      pages_.push_back(arenas_.back().data() + (page - first) * kPageBytes);
    }
  }
  table_ = std::make_unique<PageTable>(device, uint32_t(pages_.size()));
  vector_memory_ = device.allocate(vector_floats_ * sizeof(float));
  for (const PageRun& run : runs_) {
    if (run.first_tile == 0) run.view->pages = table_->entry(run.page);
  }
  for (const Vector& vector : vectors_) {
    *vector.target = vector_memory_.as<const float>() + vector.offset;
  }
}

void Weights::load(int32_t num_threads, std::atomic<uint64_t>& bytes_loaded,
                   const std::atomic<bool>& cancelled) {
  allocate();
  std::vector<WeightRun> tiles;
  for (const PageRun& run : runs_) {
    tiles.push_back({run.tensor, &run.view->layout, run.first_tile, run.num_tiles,
                     pages_[run.page] + run.page_offset});
  }
  const WeightLoader loader(backend_, files_, bytes_loaded, cancelled);
  if (dummy_) {
    loader.randomize(tiles, tensors_.data());
  } else {
    loader.load(tiles, num_threads);
  }
  if (!cancelled) load_vectors(bytes_loaded);
  if (cancelled) throw Error(HEARTH_CLOSING, "Cannot load model: the engine was stopped");
  const Ticket placed = table_->set(0, pages_);
  backend_.device->wait_for(placed);
  backend_.device->wait(placed);
}

void Weights::load_vectors(std::atomic<uint64_t>& bytes_loaded) {
  const Memory values = backend_.device->allocate(vector_memory_.bytes(), Tier::kHost);
  for (const Vector& vector : vectors_) {
    fill(vector, values.as<float>() + vector.offset);
    bytes_loaded += vector.tensor->num_bytes;
  }
  Device& device = *backend_.device;
  device.wait(device.copy(vector_memory_.data(), values.data(), values.bytes()));
}

void Weights::fill(const Vector& vector, float* to) const {
  const TensorSource& tensor = *vector.tensor;
  if (dummy_) {
    std::fill_n(to, tensor.cols, is_norm_weight(tensor) ? 1.f : 0.f);
    return;
  }
  std::vector<std::byte> source(tensor.num_bytes);
  files_[tensor.file].read(tensor.offset, source.size(), source.data());
  for (int32_t i = 0; i < tensor.cols; ++i) {
    if (tensor.format == FileFormat::kF32) {
      std::memcpy(&to[i], source.data() + i * 4, 4);
    } else {
      uint16_t half;
      std::memcpy(&half, source.data() + i * 2, 2);
      to[i] = tensor.format == FileFormat::kF16 ? float_from_half(half) : float_from_bf16(half);
    }
  }
}

}  // namespace hearth
