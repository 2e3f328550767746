// Weights in memory: tiles of 16 rows, interleaved so that a vector register holds the same columns
// of neighbouring rows and a dot product needs no shuffle. One layout serves every instruction
// path.
//
//   F32, F16, BF16    [cols][16 rows]
//   Q8_0              per 32 columns  f16 scale[16] · i8 [8 groups][16 rows][4 columns]  544 bytes
//   Q4_0              per 32 columns  f16 scale[16] · u8 [4 groups][16 rows][4 columns]  288 bytes
//   Q4_1              ... f16 scale[16] · f16 minimum[16] · u8 [4 groups][16 rows][4]    320 bytes
//
// Group g of the 8 holds columns 4g to 4g + 3. A byte of a 4-bit type holds two columns, as in the
// file: the low nibble one of group g < 4, the high nibble the one 16 columns further.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "../backend.h"

namespace hearth {

inline constexpr int kTileRows = 16;
/// Columns that share a scale: GGUF's block, of weights and of int8 activations.
inline constexpr int kGroupCols = 32;

/// Throws Error(HEARTH_UNSUPPORTED) for quantized rows that are no multiple of 32.
WeightLayout tile_layout(SourceFormat format, int32_t rows, int32_t cols);

/// Packs the rows of one tile into dst, 64-byte aligned: num_rows rows as in the file, 16 or, in
/// the last tile, less.
void pack_tile(const WeightLayout& layout, const std::byte* source, int32_t num_rows,
               std::byte* dst);

/// out[cols] = row `row` (0 to 15) of a packed tile, dequantized: exactly scale * q (+ minimum) in
/// fp32.
void unpack_row(const WeightLayout& layout, const std::byte* tile, int32_t row, float* out);

/// Tiles from `tile` on that lie behind one another in a page, at most max_tiles.
struct TileSpan {
  const std::byte* data;
  int32_t num_tiles;
};
inline TileSpan find_tiles(const WeightView& weight, int32_t tile, int32_t max_tiles) {
  const size_t tile_bytes = weight.layout.tile_bytes;
  const int32_t rest = tile - weight.first_tiles;
  if (rest < 0) {
    return {weight.pages.device[0] + weight.first_offset + tile * tile_bytes,
            std::min(max_tiles, -rest)};
  }
  const int32_t within = rest % weight.tiles_per_page;
  return {weight.pages.device[1 + rest / weight.tiles_per_page] + within * tile_bytes,
          std::min(max_tiles, weight.tiles_per_page - within)};
}

/// Its pack() waits for `after` by the device, which outlives it.
std::unique_ptr<Packer> make_cpu_packer(Device& device);

}  // namespace hearth
