#include "op_device.h"

#include <cstdlib>
#include <limits>

namespace hearth {
namespace {

// Weights are cut into segments as the pages of the engine would: at least so many, at most so
// large.
constexpr int32_t kSegments = 3;
constexpr size_t kSegmentBytes = 16 << 20;

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

std::unique_ptr<Backend> make_backend(const hearth_op_context& context) {
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

Device::Device(const hearth_op_context& context) : backend(make_backend(context)) {
  require_within("operand_outputs", context.operand_outputs, 0, 1);
}

Device::~Device() {
  for (std::byte* address : allocated_) backend->free(address);
}

std::byte* Device::bytes(size_t size) {
  allocated_.push_back(backend->allocate(size));
  return allocated_.back();
}

Tensor Device::tensor(uint32_t rows, uint32_t cols, const float* from) {
  const size_t size = backend->tensor_bytes(int32_t(rows), int32_t(cols));
  const Tensor tensor{bytes(size), int32_t(rows), int32_t(cols)};
  if (from != nullptr) {
    backend->upload(tensor.data, from, size_t(rows) * cols * sizeof(float));
  } else {
    const std::vector<std::byte> poison(size, std::byte{0xff});  // NaN in every type
    backend->upload(tensor.data, poison.data(), size);
  }
  return tensor;
}

const float* Device::vector(uint32_t count, const float* from) {
  if (from == nullptr) return nullptr;
  return reinterpret_cast<const float*>(tensor(1, count, from).data);
}

NormView Device::norm(uint32_t kind, uint32_t size, float eps, const float* weight,
                      const float* bias) {
  require_within("norm_kind", kind, 0, HEARTH_NORM_LAYER);
  if (kind == 0) return {};
  if (weight == nullptr) refuse("Cannot run op", "norm_weight", "not be NULL");
  return {NormKind(kind), vector(size, weight), vector(size, bias), int32_t(size), eps};
}

WeightView Device::weight(uint32_t dtype, uint32_t rows, uint32_t cols, const uint8_t* source) {
  require_within("weight_dtype", dtype, HEARTH_DTYPE_F32, HEARTH_DTYPE_Q4_1);
  require_within("rows", rows, 1, kMaxOpSize);
  require_within("cols", cols, 1, kMaxOpSize);
  WeightView view;
  view.layout = backend->layout(DType(dtype), int32_t(rows), int32_t(cols));
  const WeightLayout& layout = view.layout;
  const int32_t tiles = (layout.rows + layout.tile_rows - 1) / layout.tile_rows;
  const int32_t at_most = std::max<int32_t>(1, int32_t(kSegmentBytes / layout.tile_bytes));
  const int32_t per_segment = std::min((tiles + kSegments - 1) / kSegments, at_most);
  const size_t source_row = row_bytes(DType(dtype), cols);

  const std::unique_ptr<std::byte, decltype(&std::free)> packed(
      static_cast<std::byte*>(std::aligned_alloc(64, per_segment * layout.tile_bytes)), &std::free);
  if (packed == nullptr) throw std::bad_alloc();
  for (int32_t first = 0; first < tiles; first += per_segment) {
    const int32_t count = std::min(per_segment, tiles - first);
    for (int32_t tile = 0; tile < count; ++tile) {
      const int32_t row = (first + tile) * layout.tile_rows;
      backend->pack(layout, reinterpret_cast<const std::byte*>(source) + size_t(row) * source_row,
                    std::min(layout.tile_rows, layout.rows - row),
                    packed.get() + tile * layout.tile_bytes);
    }
    std::byte* data = bytes(count * layout.tile_bytes);
    backend->upload(data, packed.get(), count * layout.tile_bytes);
    view.segments.push_back({data, first, count});
  }
  return view;
}

void Device::download(const Tensor& tensor, float* to) const {
  backend->download(to, tensor.data, size_t(tensor.rows) * tensor.cols * sizeof(float));
}

OpOutput::OpOutput(Device& device, const hearth_op_context& context, uint32_t dtype, uint32_t rows,
                   uint32_t cols)
    : device_(device), plain_(device.tensor(rows, cols, nullptr)) {
  if (context.operand_outputs == 0) return;
  operand_ = device.tensor(rows, cols, nullptr);
  operand_.is_operand = true;
  if (is_quantized(DType(dtype))) dtype = HEARTH_DTYPE_F16;
  std::vector<uint8_t> ones(size_t(cols) * row_bytes(DType(dtype), cols), 0);
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

void OpOutput::finish(Backend& backend) const {
  if (operand_.data != nullptr) backend.linear(operand_, operand_.rows, {}, ones_, {}, plain_);
}

}  // namespace hearth
