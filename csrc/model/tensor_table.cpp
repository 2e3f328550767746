#include "tensor_table.h"

#include <algorithm>

#include "../error.h"

namespace hearth {
namespace {

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
    if (!is_file_format(tensor.dtype)) {
      reject("dtype of " + name, "be F32, F16, BF16, Q8_0, Q4_0, Q4_1 or Q6_K",
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
    source.format = FileFormat(tensor.dtype);
    source.rows = int32_t(rows);
    source.cols = int32_t(cols);
    source.file = int32_t(tensor.file);
    source.offset = tensor.file_offset;
    source.num_bytes = tensor.num_bytes;
    const int32_t group = group_cols(source.format);
    if (cols % uint64_t(group) != 0) {
      reject("columns of the quantized " + name, format("be a multiple of %d", group),
             std::to_string(cols));
    }
    const uint64_t expected = row_bytes(source.format, source.cols) * rows;
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
    const SourceFormat format = packer_format(tensor.format);
    any_quantized |= is_quantized(format);
    any_f32 |= format == SourceFormat::kF32;
    (format == SourceFormat::kBF16 ? any_bf16 : any_f16) |= format != SourceFormat::kF32;
  }
  if (any_f32 || any_bf16 == any_f16) return {any_quantized, DType::kF32};
  return {any_quantized, any_bf16 ? DType::kBF16 : DType::kF16};
}

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

TensorTable::TensorTable(const std::vector<TensorSource>& tensors) {
  for (const TensorSource& tensor : tensors) {
    const auto [place, fresh] = by_role_.try_emplace({tensor.role, tensor.layer}, &tensor);
    if (!fresh) {
      reject("tensor " + tensor.name,
             "appear once: tensor " + place->second->name + " has the same role");
    }
  }
}

const TensorSource* TensorTable::take(uint32_t role, int32_t layer, int32_t rows, int32_t cols) {
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

const TensorSource& TensorTable::require(const char* what, uint32_t role, int32_t layer,
                                         int32_t rows, int32_t cols) {
  if (const TensorSource* tensor = take(role, layer, rows, cols)) return *tensor;
  reject(format("tensor %s of layer %d", what, layer), "be in the table: it is missing");
}

void TensorTable::expect_empty() const {
  if (by_role_.empty()) return;
  const TensorSource& tensor = *by_role_.begin()->second;
  reject("tensor " + tensor.name,
         format("belong to the model: role %u of layer %d is not in its spec", tensor.role,
                tensor.layer));
}

}  // namespace hearth
