// How weights and operands lie in device memory. Host code without CUDA: pure functions of shapes.
//
// DESIGN
//   Weights   Strips of 16 rows, each cut into slabs of 64 columns, columns padded with zeros to a
//             multiple of 64. A strip is a WeightLayout's tile: its slabs lie behind one another,
//             so that a strip is one stream for decode, and 64 columns of it one bulk copy for
//             prefill. Inside a slab the order is that of the A operand of mma.m16n8k16 (and of
//             wgmma with A in registers): a lane finds what it needs for 16 columns in one load.
//
//               lane = g * 4 + t       pair i = 0: (row g, columns 2t, 2t + 1)   1: row g + 8
//                                           i = 2: (row g, columns 2t + 8, + 9)  3: row g + 8
//
//               F16, BF16   [4 steps of 16 columns][32 lanes][4 pairs][2]              2048 bytes
//               Q8_0        [4][32][4][2] i8, then f16 scale [2 groups][16 rows]       1088
//               Q4_0, Q4_1  [4][32] u32, then f16 scale [2][16] (, f16 minimum [2][16]) 576, 640
//                           pair i of the u32: nibbles at bits 4i and 4i + 16
//               F32         [16 rows][64]                                              4096
//
//   Operands  The 16-bit input of a linear op (B of the mma): slabs of 64 columns of all rows, in
//             8 x 8 core matrices, which is what ldmatrix, wgmma without swizzle and a plain load
//             of fragments all want.
//
//               [cols / 64][padded rows / 8][8 octets of columns][8 rows][8 columns]
//
//             Rows are padded to 8 and hold anything there; columns to 64, with zeros.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "../backend.h"

namespace hearth::cuda {

inline constexpr int kStripRows = 16;
inline constexpr int kSlabCols = 64;  // of a strip and of an operand

constexpr int32_t divide_up(int32_t value, int32_t by) { return (value + by - 1) / by; }

constexpr int32_t round_up(int32_t value, int32_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// Bytes of 16 rows x 64 columns.
constexpr int32_t slab_bytes(DType dtype) {
  switch (dtype) {
    case DType::kF32: return 4096;
    case DType::kF16:
    case DType::kBF16: return 2048;
    case DType::kQ8_0: return 1088;
    case DType::kQ4_0: return 576;
    case DType::kQ4_1: return 640;
    case DType::kInt8: break;
  }
  return 0;
}

/// Throws Error(HEARTH_UNSUPPORTED) for quantized rows that are no multiple of 32.
WeightLayout strip_layout(SourceFormat format, int32_t rows, int32_t cols);

/// Element (row, col) of an operand, in elements from its beginning. padded_rows: a multiple of 8.
constexpr size_t operand_element(int32_t row, int32_t col, int32_t padded_rows) {
  return size_t(col / kSlabCols) * padded_rows * kSlabCols + size_t(row / 8) * 512 +
         col % kSlabCols / 8 * 64 + row % 8 * 8 + col % 8;
}

constexpr size_t operand_bytes(int32_t rows, int32_t cols) {
  return size_t(round_up(rows, 8)) * round_up(cols, kSlabCols) * 2;
}

/// Element (token, dim) of a K or V cell, in elements. Core matrices of 8 tokens x 8 dimensions
/// where tensor cores read the cell (16-bit, head_dim a multiple of 16), else rows of a token each.
///
///   [block_tokens / 8][head_dim / 8][8 tokens][8 dimensions]      or [block_tokens][head_dim]
constexpr bool has_core_matrices(const KvSpec& spec) {
  return spec.dtype != DType::kF32 && spec.head_dim % 16 == 0;
}
constexpr int32_t kv_cell_element(const KvSpec& spec, int32_t token, int32_t dim) {
  return has_core_matrices(spec)
             ? (token / 8 * (spec.head_dim / 8) + dim / 8) * 64 + token % 8 * 8 + dim % 8
             : token * spec.head_dim + dim;
}

/// Dimensions of a head that attention by tensor cores is compiled for.
using HeadDims = std::integer_sequence<int, 64, 80, 96, 128, 256>;
constexpr bool is_head_dim(int32_t head_dim) {
  return []<int... kDims>(int32_t dim, std::integer_sequence<int, kDims...>) {
    return ((dim == kDims) || ...);
  }(head_dim, HeadDims());
}

/// A cell of the KV cache. part: 0 for K, 1 for V.
constexpr std::byte* cell_address(const KvCache& kv, int32_t layer, int32_t block, int part,
                                  int32_t kv_head) {
  const size_t cell =
      ((size_t(block) * kv.spec.num_layers + layer) * 2 + part) * kv.spec.num_kv_heads + kv_head;
  return kv.data + cell * kv.spec.cell_bytes();
}

/// A weight as a kernel's argument: its first page's entry in the page table, and how its strips
/// lie in the pages. What a WeightView says.
struct WeightRef {
  const std::byte* const* pages = nullptr;
  int32_t rows = 0;   // of the weight; 0: none
  int32_t slabs = 0;  // of a strip
  int32_t strip_bytes = 0;
  uint32_t first_offset = 0;  // bytes, of strip 0 in its page
  int32_t first_strips = 0;   // in the first page
  int32_t strips_per_page = 1;

  constexpr WeightRef() = default;
  explicit constexpr WeightRef(const WeightView& view)
      : pages(view.pages.device), rows(view.layout.rows),
        slabs(round_up(view.layout.cols, kSlabCols) / kSlabCols),
        strip_bytes(int32_t(view.layout.tile_bytes)), first_offset(view.first_offset),
        first_strips(view.first_tiles), strips_per_page(view.tiles_per_page) {}
};

/// A page of a weight, and where in it a strip lies.
struct StripPlace {
  int32_t page;   // of the weight's
  size_t offset;  // bytes
};

constexpr StripPlace strip_place(const WeightRef& weight, int32_t strip) {
  const int32_t rest = strip - weight.first_strips;
  if (rest < 0) return {0, weight.first_offset + size_t(strip) * weight.strip_bytes};
  return {1 + rest / weight.strips_per_page,
          size_t(rest % weight.strips_per_page) * weight.strip_bytes};
}

/// Where a strip lies now. A kernel may ask before wait_for_previous(): entries change by copies
/// that are ordered with whole kernels (../device.h). Not by strip_place(): the first page's entry
/// is asked for before anything is divided, which a short kernel notices.
constexpr const std::byte* strip_address(const WeightRef& weight, int32_t strip) {
  const int32_t rest = strip - weight.first_strips;
  if (rest < 0) return weight.pages[0] + weight.first_offset + size_t(strip) * weight.strip_bytes;
  return weight.pages[1 + rest / weight.strips_per_page] +
         size_t(rest % weight.strips_per_page) * weight.strip_bytes;
}

/// Where a weight's pages lay when an op was called, if they lay evenly. They may have moved before
/// it runs: a recorded step's arguments stay.
struct PageGuess {
  const std::byte* first = nullptr;  // page; null: no guess
  ptrdiff_t stride = 0;              // bytes from a page to the next

  constexpr const std::byte* page(int32_t index) const { return first + index * stride; }
};

/// view: not empty.
constexpr PageGuess guess_pages(const WeightView& view) {
  const std::byte* const* const lie = view.pages.host;
  const int32_t num_pages = view.num_pages();
  PageGuess guess{lie[0], num_pages > 1 ? lie[1] - lie[0] : 0};
  for (int32_t page = 2; page < num_pages; ++page) {
    if (lie[page] != guess.page(page)) return {};
  }
  return guess;
}

}  // namespace hearth::cuda
