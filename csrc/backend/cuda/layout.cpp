#include "layout.h"

#include <algorithm>
#include <cstring>

#include "../../error.h"
#include "../half.h"

namespace hearth::cuda {
namespace {

constexpr int kStepCols = 16;   // of an mma
constexpr int kGroupCols = 32;  // that share a scale in a quantized type

/// Where the element (row, col) of a block lies in fragment order, in elements.
constexpr int fragment_element(int row, int col) {
  const int step = col / kStepCols, k = col % kStepCols;
  const int lane = row % 8 * 4 + k % 8 / 2, pair = row / 8 + k / 8 * 2;
  return step * 256 + lane * 8 + pair * 2 + k % 2;
}

/// A group of 32 quants of a row as in a GGUF file: q(i) for i < 32.
int quant(DType dtype, const std::byte* group, int i) {
  if (dtype == DType::kQ8_0) return int(reinterpret_cast<const int8_t*>(group + 2)[i]);
  const std::byte* nibbles = group + (dtype == DType::kQ4_1 ? 4 : 2);
  return int(nibbles[i % 16] >> (i < 16 ? 0 : 4)) & 15;
}

void pack_quantized(DType dtype, int32_t row, int32_t col, const std::byte* group,
                    std::byte* block) {
  const int first = col % kBlockCols;  // 0 or 32
  for (int i = 0; i < kGroupCols; ++i) {
    const int element = fragment_element(row, first + i), value = quant(dtype, group, i);
    if (dtype == DType::kQ8_0) {
      block[element] = std::byte(uint8_t(int8_t(value)));
    } else {
      // Eight nibbles of a lane and step: pair at bits 4 * pair, its second half 16 further.
      const int bit = element % 8 / 2 * 4 + element % 2 * 16;
      block[element / 8 * 4 + bit / 8] |= std::byte(value << bit % 8);
    }
  }
  std::byte* scales = block + (dtype == DType::kQ8_0 ? 1024 : 512);
  const int index = first / kGroupCols * kStripRows + row;
  std::memcpy(scales + index * 2, group, 2);
  if (dtype == DType::kQ4_1) std::memcpy(scales + 64 + index * 2, group + 2, 2);
}

}  // namespace

WeightLayout strip_layout(DType dtype, int32_t rows, int32_t cols) {
  if (block_bytes(dtype) == 0) {
    throw Error(HEARTH_UNSUPPORTED,
                format("Cannot lay out weight: dtype %u is none of weights", unsigned(dtype)));
  }
  if (is_quantized(dtype) && cols % kGroupCols != 0) {
    throw Error(HEARTH_UNSUPPORTED,
                format("Cannot lay out weight: columns of a quantized weight must be a multiple "
                       "of 32: current value is %d",
                       cols));
  }
  WeightLayout layout;
  layout.id = 0x100 + uint32_t(dtype);
  layout.dtype = dtype;
  layout.rows = rows;
  layout.cols = cols;
  layout.tile_rows = kStripRows;
  layout.tile_bytes = size_t(round_up(cols, kBlockCols)) / kBlockCols * block_bytes(dtype);
  return layout;
}

void pack_strip(const WeightLayout& layout, const std::byte* source, int32_t num_rows,
                std::byte* dst) {
  const DType dtype = layout.dtype;
  const size_t bytes_per_row = row_bytes(dtype, layout.cols);
  std::memset(dst, 0, layout.tile_bytes);
  for (int32_t row = 0; row < num_rows; ++row) {
    const std::byte* from = source + row * bytes_per_row;
    for (int32_t col = 0; col < layout.cols;) {
      std::byte* block = dst + size_t(col / kBlockCols) * block_bytes(dtype);
      const int32_t at = col % kBlockCols;
      if (dtype == DType::kF32) {
        const int32_t count = std::min(kBlockCols, layout.cols - col);
        std::memcpy(block + row * kBlockCols * 4, from + size_t(col) * 4, count * 4);
        col += count;
      } else if (is_quantized(dtype)) {
        pack_quantized(dtype, row, col, from + row_bytes(dtype, col), block);
        col += kGroupCols;
      } else {
        // Two columns of a row are neighbours, and so are those of a pair.
        const int32_t count = std::min(2, layout.cols - col);
        std::memcpy(block + fragment_element(row, at) * 2, from + size_t(col) * 2, count * 2);
        col += 2;
      }
    }
  }
}

void map_strips(const WeightView& view, StripMap& map) {
  const WeightLayout& layout = view.layout;
  map.rows = layout.rows;
  if (layout.rows == 0) return;
  map.strip_bytes = int32_t(layout.tile_bytes);
  map.blocks = round_up(layout.cols, kBlockCols) / kBlockCols;
  if (view.segments.size() > StripMap::kMaxSegments) {
    throw Error(HEARTH_UNSUPPORTED,
                format("Cannot use weight: it must lie in at most %d pages: current value is %zu",
                       StripMap::kMaxSegments, view.segments.size()));
  }
  map.first = view.segments[0].num_tiles;
  map.per_segment = view.segments.size() > 1 ? view.segments[1].num_tiles : 1;
  for (size_t i = 0; i < view.segments.size(); ++i) {
    map.segments[i] = view.segments[i].data;
    const bool inner = i > 0 && i + 1 < view.segments.size();
    if (inner && view.segments[i].num_tiles != map.per_segment) {
      throw Error(HEARTH_INTERNAL, "Cannot use weight: its pages hold unequal numbers of strips");
    }
  }
}

}  // namespace hearth::cuda
