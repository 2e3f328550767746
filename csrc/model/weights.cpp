#include "weights.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "../backend/half.h"
#include "../error.h"

namespace hearth {
namespace {

constexpr size_t kJobBytes =
    1u << 20;  // packed bytes a thread makes between two looks at the counter
constexpr size_t kVectorAlignment = 16;  // floats: 64 bytes

/// field: of the tables, or the tensor at fault.
[[noreturn]] void reject(const std::string& field, const std::string& rule,
                         const std::string& value = "") {
  refuse("Cannot open model", field, rule, value);
}

std::string flat_text(const char* what, uint32_t offset, uint32_t bytes, const uint8_t* flat,
                      size_t flat_bytes) {
  if (uint64_t(offset) + bytes > flat_bytes) {
    reject(what, format("lie inside the flat buffer of %zu bytes", flat_bytes),
           format("%u bytes at %u", bytes, offset));
  }
  return std::string(reinterpret_cast<const char*>(flat) + offset, bytes);
}

/// The tensors of a table by what they are, each to be taken once.
class TensorTable {
 public:
  explicit TensorTable(const std::vector<TensorSource>& tensors) {
    for (const TensorSource& tensor : tensors) {
      const auto [place, fresh] = by_role_.try_emplace({tensor.role, tensor.layer}, &tensor);
      if (!fresh) {
        reject("tensor " + tensor.name,
               "appear once: tensor " + place->second->name + " has the same role");
      }
    }
  }

  /// Null when absent.
  const TensorSource* take(uint32_t role, int32_t layer, int32_t rows, int32_t cols) {
    const auto found = by_role_.find({role, layer});
    if (found == by_role_.end()) return nullptr;
    const TensorSource& tensor = *found->second;
    by_role_.erase(found);
    if (tensor.rows != rows || tensor.cols != cols) {
      reject("tensor " + tensor.name, format("have shape [%d, %d]", rows, cols),
             format("[%d, %d]", tensor.rows, tensor.cols));
    }
    return &tensor;
  }

  const TensorSource& require(const char* what, uint32_t role, int32_t layer, int32_t rows,
                              int32_t cols) {
    if (const TensorSource* tensor = take(role, layer, rows, cols)) return *tensor;
    reject(format("tensor %s of layer %d", what, layer), "be in the table: it is missing");
  }

  void expect_empty() const {
    if (by_role_.empty()) return;
    const TensorSource& tensor = *by_role_.begin()->second;
    reject("tensor " + tensor.name,
           format("belong to the model: role %u of layer %d is not in its spec", tensor.role,
                  tensor.layer));
  }

 private:
  std::map<std::pair<uint32_t, int32_t>, const TensorSource*> by_role_;
};

bool is_norm_weight(const TensorSource& tensor) {
  switch (tensor.role) {
    case HEARTH_TENSOR_FINAL_NORM_WEIGHT:
    case HEARTH_TENSOR_ATTENTION_NORM_WEIGHT:
    case HEARTH_TENSOR_MLP_NORM_WEIGHT:
    case HEARTH_TENSOR_Q_NORM_WEIGHT:
    case HEARTH_TENSOR_K_NORM_WEIGHT: return true;
    default: return false;
  }
}

}  // namespace

std::vector<std::string> parse_files(const hearth_file* files, uint32_t count, const uint8_t* flat,
                                     size_t flat_bytes) {
  std::vector<std::string> paths;
  for (uint32_t i = 0; i < count; ++i) {
    paths.push_back(flat_text(format("files[%u].path", i).c_str(), files[i].path_offset,
                              files[i].path_bytes, flat, flat_bytes));
    if (paths.back().empty() || paths.back().find('\0') != std::string::npos) {
      reject(format("files[%u].path", i), "be a path without NUL");
    }
  }
  return paths;
}

std::vector<TensorSource> parse_tensors(const hearth_tensor* tensors, uint32_t count,
                                        uint32_t num_files, const uint8_t* flat,
                                        size_t flat_bytes) {
  constexpr uint64_t kMaxDimension = 1u << 24;
  std::vector<TensorSource> parsed;
  for (uint32_t i = 0; i < count; ++i) {
    const hearth_tensor& tensor = tensors[i];
    TensorSource source;
    source.name = flat_text(format("tensors[%u].name", i).c_str(), tensor.name_offset,
                            tensor.name_bytes, flat, flat_bytes);
    const std::string name = "tensor " + source.name;
    if (tensor.dtype > HEARTH_DTYPE_Q4_1) {
      reject("dtype of " + name, "be F32, F16, BF16, Q8_0, Q4_0 or Q4_1",
             std::to_string(tensor.dtype));
    }
    if (tensor.num_dims < 1 || tensor.num_dims > 2) {
      reject("num_dims of " + name, "be 1 or 2", std::to_string(tensor.num_dims));
    }
    const uint64_t cols = tensor.num_dims == 2 ? tensor.shape[1] : tensor.shape[0];
    const uint64_t rows = tensor.num_dims == 2 ? tensor.shape[0] : 1;
    if (rows < 1 || rows > kMaxDimension || cols < 1 || cols > kMaxDimension) {
      reject("shape of " + name, format("be between 1 and %llu", (unsigned long long)kMaxDimension),
             format("[%llu, %llu]", (unsigned long long)rows, (unsigned long long)cols));
    }
    if (tensor.file >= num_files) {
      reject("file of " + name, format("be below %u", num_files), std::to_string(tensor.file));
    }
    source.role = tensor.role;
    source.layer = int32_t(std::min<uint32_t>(tensor.layer, INT32_MAX));
    source.dtype = DType(tensor.dtype);
    source.rows = int32_t(rows);
    source.cols = int32_t(cols);
    source.file = int32_t(tensor.file);
    source.offset = tensor.file_offset;
    source.num_bytes = tensor.num_bytes;
    if (is_quantized(source.dtype) && cols % 32 != 0) {
      reject("columns of the quantized " + name, "be a multiple of 32", std::to_string(cols));
    }
    const uint64_t expected = row_bytes(source.dtype, source.cols) * rows;
    if (tensor.num_bytes != expected) {
      reject("num_bytes of " + name, format("be %llu", (unsigned long long)expected),
             std::to_string(tensor.num_bytes));
    }
    parsed.push_back(std::move(source));
  }
  return parsed;
}

LayerTypes layer_types(const std::vector<TensorSource>& tensors) {
  bool any_quantized = false, any_bf16 = false, any_f16 = false, any_f32 = false;
  for (const TensorSource& tensor : tensors) {
    switch (tensor.role) {
      case HEARTH_TENSOR_Q_WEIGHT:
      case HEARTH_TENSOR_K_WEIGHT:
      case HEARTH_TENSOR_V_WEIGHT:
      case HEARTH_TENSOR_O_WEIGHT:
      case HEARTH_TENSOR_GATE_WEIGHT:
      case HEARTH_TENSOR_UP_WEIGHT:
      case HEARTH_TENSOR_DOWN_WEIGHT: break;
      default: continue;
    }
    any_quantized |= is_quantized(tensor.dtype);
    any_f32 |= tensor.dtype == DType::kF32;
    (tensor.dtype == DType::kBF16 ? any_bf16 : any_f16) |= tensor.dtype != DType::kF32;
  }
  if (any_f32 || any_bf16 == any_f16) return {any_quantized, DType::kF32};
  return {any_quantized, any_bf16 ? DType::kBF16 : DType::kF16};
}

Weights::Weights(Backend& backend, const ModelSpec& spec, std::vector<TensorSource> tensors,
                 std::vector<std::string> paths, bool dummy)
    : layers(spec.num_layers), backend_(backend), dummy_(dummy), tensors_(std::move(tensors)) {
  const int32_t hidden = spec.hidden_size;
  const int32_t q_size = spec.num_heads * spec.head_dim;
  const int32_t kv_size = spec.num_kv_heads * spec.head_dim;
  TensorTable table(tensors_);

  const auto linear = [&](const char* what, LinearView& view, uint32_t role, int32_t layer,
                          int32_t rows, int32_t cols) {
    const TensorSource& weight = table.require(what, role, layer, rows, cols);
    place(weight, view.weight);
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
  for (int32_t i = 0; i < spec.num_layers; ++i) {
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
    if (spec.gated) {
      linear("gate", layer.gate, HEARTH_TENSOR_GATE_WEIGHT, i, spec.intermediate_size, hidden);
    }
    linear("up", layer.up, HEARTH_TENSOR_UP_WEIGHT, i, spec.intermediate_size, hidden);
    linear("down", layer.down, HEARTH_TENSOR_DOWN_WEIGHT, i, hidden, spec.intermediate_size);
  }
  if (!spec.norm_after) {
    norm("final_norm", final_norm, HEARTH_TENSOR_FINAL_NORM_WEIGHT, 0, hidden, true);
  }
  if (!spec.tied_embeddings) {
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
  for (const size_t bytes : page_bytes_) device_bytes_ += bytes;
  device_bytes_ += vector_floats_ * sizeof(float);
}

Weights::~Weights() {
  for (std::byte* page : pages_) backend_.free(page);
  if (vector_arena_ != nullptr) backend_.free(vector_arena_);
}

void Weights::place(const TensorSource& tensor, WeightView& view) {
  view.layout = backend_.layout(tensor.dtype, tensor.rows, tensor.cols);
  const size_t tile_bytes = view.layout.tile_bytes;
  if (tile_bytes > kPageBytes) {
    throw Error(HEARTH_UNSUPPORTED,
                format("Cannot place tensor %s: a tile must fit a page of %zu bytes: current size "
                       "is %zu",
                       tensor.name.c_str(), kPageBytes, tile_bytes));
  }
  const int32_t num_tiles = (tensor.rows + view.layout.tile_rows - 1) / view.layout.tile_rows;
  for (int32_t tile = 0; tile < num_tiles;) {
    if (page_bytes_.empty() || page_bytes_.back() + tile_bytes > kPageBytes) {
      page_bytes_.push_back(0);
    }
    size_t& used = page_bytes_.back();
    const int32_t fitting =
        std::min<int32_t>(num_tiles - tile, int32_t((kPageBytes - used) / tile_bytes));
    runs_.push_back({&tensor, &view, tile, fitting, page_bytes_.size() - 1, used});
    used += fitting * tile_bytes;
    tile += fitting;
  }
}

void Weights::place(const TensorSource& tensor, const float*& vector) {
  if (is_quantized(tensor.dtype)) {
    reject("dtype of tensor " + tensor.name, "be F32, F16 or BF16: it is a vector");
  }
  vectors_.push_back({&tensor, &vector, vector_floats_});
  const size_t size = size_t(tensor.cols);
  vector_floats_ += (size + kVectorAlignment - 1) / kVectorAlignment * kVectorAlignment;
}

void Weights::allocate() {
  for (const size_t bytes : page_bytes_) pages_.push_back(backend_.allocate(bytes));
  vector_arena_ = backend_.allocate(vector_floats_ * sizeof(float));
  for (const TileRun& run : runs_) {
    run.view->segments.push_back(
        {pages_[run.page] + run.page_offset, run.first_tile, run.num_tiles});
  }
  for (const Vector& vector : vectors_) {
    *vector.target = reinterpret_cast<const float*>(vector_arena_) + vector.offset;
  }
}

void Weights::load_tiles(const TileRun& run, int32_t first_tile, int32_t num_tiles) const {
  const TensorSource& tensor = *run.tensor;
  const WeightLayout& layout = run.view->layout;
  const size_t source_row_bytes = row_bytes(tensor.dtype, tensor.cols);
  const int32_t first_row = first_tile * layout.tile_rows;
  const int32_t num_rows = std::min(num_tiles * layout.tile_rows, tensor.rows - first_row);
  std::vector<std::byte> source(num_rows * source_row_bytes);
  files_[tensor.file].read(tensor.offset + first_row * source_row_bytes, source.size(),
                           source.data());

  const size_t packed_bytes = num_tiles * layout.tile_bytes;
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  const std::unique_ptr<std::byte, Free> packed(
      static_cast<std::byte*>(std::aligned_alloc(64, packed_bytes)));
  if (!packed) throw std::bad_alloc();
  for (int32_t tile = 0; tile < num_tiles; ++tile) {
    const int32_t row = tile * layout.tile_rows;
    backend_.pack(layout, source.data() + row * source_row_bytes,
                  std::min(layout.tile_rows, num_rows - row),
                  packed.get() + tile * layout.tile_bytes);
  }
  backend_.upload(
      pages_[run.page] + run.page_offset + (first_tile - run.first_tile) * layout.tile_bytes,
      packed.get(), packed_bytes);
}

void Weights::load_vector(const Vector& vector) const {
  const TensorSource& tensor = *vector.tensor;
  std::vector<std::byte> source(tensor.num_bytes);
  files_[tensor.file].read(tensor.offset, source.size(), source.data());
  std::vector<float> values(tensor.cols);
  for (int32_t i = 0; i < tensor.cols; ++i) {
    if (tensor.dtype == DType::kF32) {
      std::memcpy(&values[i], source.data() + i * 4, 4);
    } else {
      uint16_t half;
      std::memcpy(&half, source.data() + i * 2, 2);
      values[i] = tensor.dtype == DType::kF16 ? float_from_half(half) : float_from_bf16(half);
    }
  }
  backend_.upload(vector_arena_ + vector.offset * sizeof(float), values.data(),
                  values.size() * sizeof(float));
}

void Weights::load(int32_t num_threads, std::atomic<uint64_t>& bytes_loaded,
                   const std::atomic<bool>& cancelled) {
  allocate();
  if (dummy_) {
    make_dummies(bytes_loaded, cancelled);
  } else {
    load_files(num_threads, bytes_loaded, cancelled);
  }
  if (cancelled) throw Error(HEARTH_CLOSING, "Cannot load model: the engine was stopped");
}

void Weights::make_dummies(std::atomic<uint64_t>& bytes_loaded,
                           const std::atomic<bool>& cancelled) const {
  for (const TileRun& run : runs_) {
    if (cancelled) return;
    const WeightLayout& layout = run.view->layout;
    // Equal numbers in all pages of a tensor would make rows of it equal.
    const uint64_t seed = uint64_t(run.tensor - tensors_.data()) << 32 | uint32_t(run.first_tile);
    backend_.randomize(layout, pages_[run.page] + run.page_offset, run.num_tiles, seed);
    const int32_t rows = std::min(run.num_tiles * layout.tile_rows,
                                  run.tensor->rows - run.first_tile * layout.tile_rows);
    bytes_loaded += rows * row_bytes(run.tensor->dtype, run.tensor->cols);
  }
  for (const Vector& vector : vectors_) {
    const std::vector<float> values(vector.tensor->cols, is_norm_weight(*vector.tensor) ? 1 : 0);
    backend_.upload(vector_arena_ + vector.offset * sizeof(float), values.data(),
                    values.size() * sizeof(float));
    bytes_loaded += vector.tensor->num_bytes;
  }
}

void Weights::load_files(int32_t num_threads, std::atomic<uint64_t>& bytes_loaded,
                         const std::atomic<bool>& cancelled) const {
  struct Job {
    const TileRun* run;  // null: a vector
    int32_t first_tile;
    int32_t num_tiles;
    const Vector* vector;
  };
  std::vector<Job> jobs;
  for (const TileRun& run : runs_) {
    const int32_t step = std::max<int32_t>(1, int32_t(kJobBytes / run.view->layout.tile_bytes));
    for (int32_t tile = 0; tile < run.num_tiles; tile += step) {
      jobs.push_back({&run, run.first_tile + tile, std::min(step, run.num_tiles - tile), nullptr});
    }
  }
  for (const Vector& vector : vectors_) jobs.push_back({nullptr, 0, 0, &vector});

  std::atomic<size_t> next{0};
  std::mutex failure_mutex;
  std::exception_ptr failure;
  const auto work = [&] {
    try {
      for (size_t i = next++; i < jobs.size() && !cancelled; i = next++) {
        const Job& job = jobs[i];
        if (job.run == nullptr) {
          load_vector(*job.vector);
          bytes_loaded += job.vector->tensor->num_bytes;
          continue;
        }
        load_tiles(*job.run, job.first_tile, job.num_tiles);
        const TensorSource& tensor = *job.run->tensor;
        const int32_t tile_rows = job.run->view->layout.tile_rows;
        const int32_t rows =
            std::min(job.num_tiles * tile_rows, tensor.rows - job.first_tile * tile_rows);
        bytes_loaded += rows * row_bytes(tensor.dtype, tensor.cols);
      }
    } catch (...) {
      next = jobs.size();
      const std::lock_guard lock(failure_mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (int32_t i = 1; i < num_threads; ++i) helpers.emplace_back(work);
    work();
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace hearth
