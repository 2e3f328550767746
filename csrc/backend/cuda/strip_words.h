// What a packed strip consists of, word by word: the one description of how rows of a file become
// the strips of layout.h. On the device a thread makes a word; tests make them on the host.
#pragma once

#include "layout.h"

#ifdef __CUDACC__
#define HEARTH_HOST_DEVICE __host__ __device__
#else
#define HEARTH_HOST_DEVICE
#endif

namespace hearth::cuda {

/// The rows of one strip, as in the file.
struct StripRows {
  const std::byte* data;
  size_t row_bytes;
  int32_t num_rows;  // 16, or less in a weight's last strip
  int32_t cols;
};

/// The 16 bits at an even or odd address, little-endian.
HEARTH_HOST_DEVICE inline uint32_t load_16_bits(const std::byte* from) {
  return uint32_t(from[0]) | uint32_t(from[1]) << 8;
}

/// Columns 2t and 2t + 1 of a row and k octet, which lie side by side in a fragment (layout.h): for
/// element 2 * pair_index of a slab.
struct FragmentPair {
  int row, col;

  HEARTH_HOST_DEVICE explicit constexpr FragmentPair(int pair_index)
      : row(pair_index % 128 / 4 / 4 + pair_index % 2 * 8),
        col(pair_index / 128 * 16 + pair_index % 4 / 2 * 8 + pair_index % 128 / 4 % 4 * 2) {}
};

/// Bytes of 32 quants in the file before the quants: scale, then minimum.
HEARTH_HOST_DEVICE constexpr int header_bytes(SourceFormat format) {
  return format == SourceFormat::kQ4_1 ? 4 : 2;
}

/// Where the group of 32 quants that holds column `col` begins in a row of the file.
HEARTH_HOST_DEVICE inline const std::byte* find_group(const StripRows& rows, SourceFormat format,
                                                      int row, int32_t col) {
  return rows.data + row * rows.row_bytes + row_bytes(format, col / 32 * 32);
}

/// Word `word` of slab `slab` of a strip. Rows and columns that the weight does not have are 0.
HEARTH_HOST_DEVICE inline uint32_t strip_word(SourceFormat format, const StripRows& rows,
                                              int32_t slab, int word) {
  const int32_t first_col = slab * kSlabCols;
  const auto exists = [&](int row, int col) {
    return row < rows.num_rows && first_col + col < rows.cols;
  };
  switch (format) {
    case SourceFormat::kF32: {
      const int row = word / kSlabCols, col = word % kSlabCols;
      if (!exists(row, col)) return 0;
      const std::byte* const from = rows.data + row * rows.row_bytes + size_t(first_col + col) * 4;
      return load_16_bits(from) | load_16_bits(from + 2) << 16;
    }
    case SourceFormat::kF16:
    case SourceFormat::kBF16: {
      const FragmentPair pair(word);
      if (!exists(pair.row, pair.col)) return 0;
      const std::byte* const from =
          rows.data + pair.row * rows.row_bytes + size_t(first_col + pair.col) * 2;
      const bool has_second = exists(pair.row, pair.col + 1);
      return load_16_bits(from) | (has_second ? load_16_bits(from + 2) << 16 : 0);
    }
    case SourceFormat::kQ8_0: {
      if (word >= 256) break;
      uint32_t bytes = 0;
      for (int i = 0; i < 2; ++i) {
        const FragmentPair pair(word * 2 + i);
        if (!exists(pair.row, pair.col)) continue;
        const std::byte* const group = find_group(rows, format, pair.row, first_col + pair.col);
        bytes |= load_16_bits(group + 2 + pair.col % 32) << (16 * i);
      }
      return bytes;
    }
    case SourceFormat::kQ4_0:
    case SourceFormat::kQ4_1: {
      if (word >= 128) break;
      uint32_t nibbles = 0;  // pair i at bits 4 i and 4 i + 16
      for (int i = 0; i < 4; ++i) {
        const FragmentPair pair(word * 4 + i);
        if (!exists(pair.row, pair.col)) continue;
        const std::byte* const quants =
            find_group(rows, format, pair.row, first_col + pair.col) + header_bytes(format);
        // A byte of the file has columns c and c + 16 of the group.
        const int col = pair.col % 32, shift = col < 16 ? 0 : 4;
        nibbles |= (uint32_t(quants[col % 16]) >> shift & 15) << (4 * i);
        nibbles |= (uint32_t(quants[(col + 1) % 16]) >> shift & 15) << (4 * i + 16);
      }
      return nibbles;
    }
  }
  // Scales of two rows, by groups of 32 columns; then minima.
  const int index = (word - (format == SourceFormat::kQ8_0 ? 256 : 128)) * 2;
  const int part = index / 32, group_col = index % 32 / kStripRows * 32, row = index % kStripRows;
  uint32_t scales = 0;
  for (int i = 0; i < 2; ++i) {
    if (!exists(row + i, group_col)) continue;
    const std::byte* const group = find_group(rows, format, row + i, first_col + group_col);
    scales |= load_16_bits(group + 2 * part) << (16 * i);
  }
  return scales;
}

}  // namespace hearth::cuda
