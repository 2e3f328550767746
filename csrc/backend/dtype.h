// Types of numbers: as weights lie in files, and as kernels take them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../hearth.h"

namespace hearth {

/// How rows lie that a Packer takes, values as HEARTH_DTYPE_*: as in files. It turns them into
/// DTypes.
enum class SourceFormat : uint32_t {
  kF32 = HEARTH_DTYPE_F32,
  kF16 = HEARTH_DTYPE_F16,
  kBF16 = HEARTH_DTYPE_BF16,
  kQ8_0 = HEARTH_DTYPE_Q8_0,
  kQ4_0 = HEARTH_DTYPE_Q4_0,
  kQ4_1 = HEARTH_DTYPE_Q4_1
};

/// What kernels read and multiply: packed weights, activations, the KV cache. Values as
/// HEARTH_DTYPE_*.
enum class DType : uint32_t {
  kF32 = HEARTH_DTYPE_F32,
  kF16 = HEARTH_DTYPE_F16,
  kBF16 = HEARTH_DTYPE_BF16,
  kQ8_0 = HEARTH_DTYPE_Q8_0,
  kQ4_0 = HEARTH_DTYPE_Q4_0,
  kQ4_1 = HEARTH_DTYPE_Q4_1,
  kInt8 = HEARTH_DTYPE_INT8
};

/// "fp32", "bf16", "q8_0": as `describe` shows them.
constexpr const char* dtype_name(DType dtype) {
  switch (dtype) {
    case DType::kF32: return "fp32";
    case DType::kF16: return "fp16";
    case DType::kBF16: return "bf16";
    case DType::kQ8_0: return "q8_0";
    case DType::kQ4_0: return "q4_0";
    case DType::kQ4_1: return "q4_1";
    case DType::kInt8: return "int8";
  }
  return "unknown";
}

/// Bytes of one row of `cols` values as a Packer takes it. cols is a multiple of 32 for the
/// quantized formats.
constexpr size_t row_bytes(SourceFormat format, int64_t cols) {
  switch (format) {
    case SourceFormat::kF32: return size_t(cols) * 4;
    case SourceFormat::kF16:
    case SourceFormat::kBF16: return size_t(cols) * 2;
    case SourceFormat::kQ8_0: return size_t(cols) / 32 * 34;
    case SourceFormat::kQ4_0: return size_t(cols) / 32 * 18;
    case SourceFormat::kQ4_1: return size_t(cols) / 32 * 20;
  }
  return 0;
}

/// Whether rows consist of groups of 32 values with a scale.
constexpr bool is_quantized(SourceFormat format) {
  return format == SourceFormat::kQ8_0 || format == SourceFormat::kQ4_0 ||
         format == SourceFormat::kQ4_1;
}
constexpr bool is_quantized(DType dtype) {
  return dtype == DType::kQ8_0 || dtype == DType::kQ4_0 || dtype == DType::kQ4_1;
}

}  // namespace hearth
