// How weights lie in files. Formats that no kernel takes are decoded while they are loaded.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../backend/dtype.h"

namespace hearth {

/// Values as HEARTH_DTYPE_*.
enum class FileFormat : uint32_t {
  kF32 = HEARTH_DTYPE_F32,
  kF16 = HEARTH_DTYPE_F16,
  kBF16 = HEARTH_DTYPE_BF16,
  kQ8_0 = HEARTH_DTYPE_Q8_0,
  kQ4_0 = HEARTH_DTYPE_Q4_0,
  kQ4_1 = HEARTH_DTYPE_Q4_1,
  kQ6_K = HEARTH_DTYPE_Q6_K
};

/// Whether it is one of FileFormat's.
bool is_file_format(uint32_t dtype);

/// Values that lie together: rows consist of whole groups.
int32_t group_cols(FileFormat format);

/// Bytes of one row of `cols` values, a multiple of group_cols(format).
size_t row_bytes(FileFormat format, int64_t cols);

/// How rows lie once they are decoded: as in the file, where packers take that.
SourceFormat packer_format(FileFormat format);

/// Whether rows in the file are not yet what packers take.
bool needs_decoding(FileFormat format);

/// Decodes whole groups of a format that needs it, `bytes` bytes of them, into values of
/// packer_format(format): each the nearest to what the group means.
void decode_rows(FileFormat format, const std::byte* groups, size_t bytes, std::byte* values);

}  // namespace hearth
