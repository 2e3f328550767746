// Weights as ops take them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dtype.h"

namespace hearth {

/// How a backend stores a weight: a pure function of (backend, format, shape).
struct WeightLayout {
  uint32_t id = 0;  // names the kernel family and the packing's version
  SourceFormat source = SourceFormat::kF32;
  DType dtype = DType::kF32;
  int32_t rows = 0;       // out features
  int32_t cols = 0;       // in features
  int32_t tile_rows = 0;  // rows that are packed together
  size_t tile_bytes = 0;  // of a packed tile, a multiple of 64; the last tile is padded to this

  constexpr int32_t num_tiles() const {
    return tile_rows > 0 ? (rows + tile_rows - 1) / tile_rows : 0;
  }
};

/// A page's entry in a PageTable, in both memories; those of the pages that follow lie behind it.
struct PageEntry {
  const std::byte* const* device = nullptr;  // by which kernels find the page
  const std::byte* const* host = nullptr;    // where the page lies for what is enqueued next
};

/// A weight by name: its first page's entry in a PageTable. Its tiles lie behind one another, from
/// first_offset on in that page and from the beginning of every page that follows; a tile never
/// straddles two pages. Empty (rows 0) stands for "none".
struct WeightView {
  WeightLayout layout;
  PageEntry pages;
  uint32_t first_offset = 0;   // bytes
  int32_t first_tiles = 0;     // tiles in the first page
  int32_t tiles_per_page = 1;  // in every other one, but for the last

  /// Pages that its tiles lie in.
  constexpr int32_t num_pages() const {
    const int32_t others = layout.num_tiles() - first_tiles;
    return 1 + (others > 0 ? (others + tiles_per_page - 1) / tiles_per_page : 0);
  }
};

/// y = W x + bias. bias: float[rows] on the device, or null.
struct LinearView {
  WeightView weight;
  const float* bias = nullptr;
};

enum class NormKind : uint32_t { kNone = 0, kRms = HEARTH_NORM_RMS, kLayer = HEARTH_NORM_LAYER };

/// weight, bias: float[size] on the device; bias may be null. kNone passes its input on.
struct NormView {
  NormKind kind = NormKind::kNone;
  const float* weight = nullptr;
  const float* bias = nullptr;
  int32_t size = 0;
  float eps = 0;
};

}  // namespace hearth
