#include "op_device.h"

#include <limits>

namespace hearth {
namespace {

// Weights are cut into pages as the engine's are: at least so many, at most so large.
constexpr int32_t kPages = 3;
constexpr size_t kPageBytes = 16 << 20;

}  // namespace

void require_within(const char* field, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return;
  refuse("Cannot run op", field, format("be %lld to %lld", (long long)least, (long long)most),
         std::to_string(value));
}

CpuOptions cpu_options(const hearth_op_context& context) {
  require_within("device_kind", context.device_kind, HEARTH_DEVICE_AUTO, HEARTH_DEVICE_CPU);
  require_within("device_index", context.device_index, 0, 0);
  require_within("num_threads", context.num_threads, 0, 1024);
  if (context.activation_dtype != HEARTH_DTYPE_F32) {
    require_within("activation_dtype", context.activation_dtype, HEARTH_DTYPE_INT8,
                   HEARTH_DTYPE_INT8);
  }
  return {context.isa, context.num_threads, DType(context.activation_dtype)};
}

Backend make_backend(const hearth_op_context& context) {
  require_within("device_kind", context.device_kind, HEARTH_DEVICE_AUTO, HEARTH_DEVICE_CUDA);
  if (context.device_kind != HEARTH_DEVICE_CUDA) return make_cpu_backend(cpu_options(context));
  const bool exact = context.activation_dtype == HEARTH_DTYPE_F32;
  if (!exact) {
    require_within("activation_dtype", context.activation_dtype, HEARTH_DTYPE_F16,
                   HEARTH_DTYPE_F16);
  }
  require_within("device_index", context.device_index, 0, INT32_MAX);
  require_within("isa", context.isa, 0, 1000);
  return make_cuda_backend({.device_index = int32_t(context.device_index),
                            .exact = exact,
                            .max_compute_capability = int32_t(context.isa)});
}

OpDevice::OpDevice(const hearth_op_context& context) : backend(make_backend(context)) {
  require_within("operand_outputs", context.operand_outputs, 0, 1);
}

std::byte* OpDevice::bytes(size_t size) {
  allocated_.push_back(device().allocate(size));
  return allocated_.back().data();
}

Tensor OpDevice::tensor(uint32_t rows, uint32_t cols, const float* from) {
  const size_t size = ops().tensor_bytes(int32_t(rows), int32_t(cols));
  const Tensor tensor{bytes(size), int32_t(rows), int32_t(cols)};
  if (from != nullptr) {
    device().copy_now(tensor.data, from, size_t(rows) * cols * sizeof(float));
  } else {
    const std::vector<std::byte> poison(size, std::byte{0xff});  // NaN in every type
    device().copy_now(tensor.data, poison.data(), size);
  }
  return tensor;
}

const float* OpDevice::vector(uint32_t count, const float* from) {
  if (from == nullptr) return nullptr;
  return reinterpret_cast<const float*>(tensor(1, count, from).data);
}

NormView OpDevice::norm(uint32_t kind, uint32_t size, float eps, const float* weight,
                        const float* bias) {
  require_within("norm_kind", kind, 0, HEARTH_NORM_LAYER);
  if (kind == 0) return {};
  if (weight == nullptr) refuse("Cannot run op", "norm_weight", "not be NULL");
  return {NormKind(kind), vector(size, weight), vector(size, bias), int32_t(size), eps};
}

WeightView OpDevice::weight(uint32_t dtype, uint32_t rows, uint32_t cols, const uint8_t* source) {
  require_within("weight_dtype", dtype, HEARTH_DTYPE_F32, HEARTH_DTYPE_Q4_1);
  require_within("rows", rows, 1, kMaxOpSize);
  require_within("cols", cols, 1, kMaxOpSize);
  WeightView view;
  view.layout = backend.packer->layout(SourceFormat(dtype), int32_t(rows), int32_t(cols));
  const WeightLayout& layout = view.layout;
  const int32_t tiles = layout.num_tiles();
  const int32_t at_most = std::max<int32_t>(1, int32_t(kPageBytes / layout.tile_bytes));
  view.tiles_per_page = std::min((tiles + kPages - 1) / kPages, at_most);
  const int32_t others = std::min(1, view.tiles_per_page - 1);  // of another weight, as it were
  view.first_tiles = view.tiles_per_page - others;
  view.first_offset = uint32_t(others * layout.tile_bytes);

  const size_t source_row = row_bytes(layout.source, cols);
  std::byte* const raw = bytes(rows * source_row);
  device().copy_now(raw, source, rows * source_row);
  const size_t page_bytes = view.tiles_per_page * layout.tile_bytes;
  const std::vector<std::byte> poison(page_bytes, std::byte{0xff});  // NaN in every type
  std::vector<std::byte*> pages;
  for (int32_t first = -others; first < tiles; first += view.tiles_per_page) {
    pages.push_back(bytes(page_bytes));
    device().copy_now(pages.back(), poison.data(), page_bytes);
    const int32_t begin = std::max(first, 0);
    const int32_t row = begin * layout.tile_rows;
    const int32_t end_row = std::min((first + view.tiles_per_page) * layout.tile_rows, layout.rows);
    device().wait(backend.packer->pack(layout, raw + row * source_row, end_row - row,
                                       pages.back() + (begin - first) * layout.tile_bytes, {}));
  }
  tables_.push_back(std::make_unique<PageTable>(device(), uint32_t(pages.size())));
  const Ticket placed = tables_.back()->set(0, pages);
  device().wait_for(placed);
  device().wait(placed);
  view.pages = tables_.back()->entry(0);
  return view;
}

void OpDevice::download(const Tensor& tensor, float* to) const {
  device().copy_now(to, tensor.data, size_t(tensor.rows) * tensor.cols * sizeof(float));
}

OpOutput::OpOutput(OpDevice& device, const hearth_op_context& context, uint32_t dtype,
                   uint32_t rows, uint32_t cols)
    : device_(device), plain_(device.tensor(rows, cols, nullptr)) {
  if (context.operand_outputs == 0) return;
  operand_ = device.tensor(rows, cols, nullptr);
  operand_.is_operand = true;
  if (is_quantized(SourceFormat(dtype))) dtype = HEARTH_DTYPE_F16;
  std::vector<uint8_t> ones(size_t(cols) * row_bytes(SourceFormat(dtype), cols), 0);
  for (uint32_t i = 0; i < cols; ++i) {
    const size_t at = size_t(i) * cols + i;
    if (dtype == HEARTH_DTYPE_F32) {
      reinterpret_cast<float*>(ones.data())[at] = 1;
    } else {
      reinterpret_cast<uint16_t*>(ones.data())[at] = dtype == HEARTH_DTYPE_BF16 ? 0x3f80 : 0x3c00;
    }
  }
  ones_.weight = device.weight(dtype, cols, cols, ones.data());
}

void OpOutput::finish(Ops& ops, const Tensor& written) const {
  if (operand_.data != nullptr) ops.linear(written, {}, ones_, {}, plain_);
}

}  // namespace hearth
