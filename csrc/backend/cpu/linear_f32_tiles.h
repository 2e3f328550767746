// How the vector paths walk a run of tiles in fp32, over two functions of their own:
//
//   Path::dequantize(dtype, tile, begin, end, out)   columns [begin, end) of a tile as [..][16] f32
//   Path::multiply<kDType, kTiles, kTokens>(...)     c += W x over some columns, sums in registers
//   Path::kManyTokens, Path::kManyTiles              how many of each its registers hold
//   Path::kRows                                      16, of a tile
//
// Path lies in the unnamed namespace of the file that includes this, and so does what is made of
// it: no instruction set gets another's version.
#pragma once

#include "../../hearth.h"
#include "kernels.h"

namespace hearth {

constexpr int kChunkCols = 64;  // of a tile, dequantized, that stay in L1

// kTiles tiles from `tile` on. kDType is what is multiplied: what is stored, or F32 from L1.
template <class Path, uint32_t kDType, int kTiles>
void linear_f32_tiles(const TileRun& run, int32_t tile, const float* x, int32_t x_stride,
                      int32_t num_tokens, float* c) {
  constexpr size_t kElement = kDType == HEARTH_DTYPE_F32 ? 4 : 2;
  const int32_t c_stride = run.num_tiles * Path::kRows;
  c += tile * Path::kRows;
  for (int32_t t = 0; t < num_tokens; ++t) {
    __builtin_memset(c + size_t(t) * c_stride, 0, kTiles * Path::kRows * sizeof(float));
  }
  for (int32_t begin = 0; begin < run.cols; begin += kChunkCols) {
    const int32_t end = begin + kChunkCols < run.cols ? begin + kChunkCols : run.cols;
    alignas(64) float scratch[kTiles][kChunkCols * Path::kRows];
    const std::byte* weights[kTiles];
    for (int i = 0; i < kTiles; ++i) {
      const std::byte* from = run.tiles + (tile + i) * run.tile_bytes;
      if (run.dtype == kDType) {
        weights[i] = from + size_t(begin) * Path::kRows * kElement;
      } else {
        Path::dequantize(run.dtype, from, begin, end, scratch[i]);
        weights[i] = reinterpret_cast<const std::byte*>(scratch[i]);
      }
    }
    int32_t t = 0;
    for (; kTiles == 1 && t + Path::kManyTokens <= num_tokens; t += Path::kManyTokens) {
      Path::template multiply<kDType, 1, Path::kManyTokens>(
          weights, end - begin, x + size_t(t) * x_stride + begin, x_stride,
          c + size_t(t) * c_stride, c_stride);
    }
    for (; t < num_tokens; ++t) {
      Path::template multiply<kDType, kTiles, 1>(weights, end - begin,
                                                 x + size_t(t) * x_stride + begin, x_stride,
                                                 c + size_t(t) * c_stride, c_stride);
    }
  }
}

template <class Path, uint32_t kDType>
void linear_f32_as(const TileRun& run, const float* x, int32_t x_stride, int32_t num_tokens,
                   float* c) {
  int32_t tile = 0;
  if (num_tokens < Path::kManyTokens) {
    for (; tile + Path::kManyTiles <= run.num_tiles; tile += Path::kManyTiles) {
      linear_f32_tiles<Path, kDType, Path::kManyTiles>(run, tile, x, x_stride, num_tokens, c);
    }
  }
  for (; tile < run.num_tiles; ++tile) {
    linear_f32_tiles<Path, kDType, 1>(run, tile, x, x_stride, num_tokens, c);
  }
}

template <class Path>
void linear_f32(const TileRun& run, const float* x, int32_t x_stride, int32_t num_tokens,
                float* c) {
  // 16-bit floats are converted on the way into a register where few tokens use them.
  const uint32_t multiplied =
      num_tokens < Path::kManyTokens ? run.dtype : uint32_t(HEARTH_DTYPE_F32);
  switch (multiplied) {
    case HEARTH_DTYPE_F16:
      return linear_f32_as<Path, HEARTH_DTYPE_F16>(run, x, x_stride, num_tokens, c);
    case HEARTH_DTYPE_BF16:
      return linear_f32_as<Path, HEARTH_DTYPE_BF16>(run, x, x_stride, num_tokens, c);
    default: return linear_f32_as<Path, HEARTH_DTYPE_F32>(run, x, x_stride, num_tokens, c);
  }
}

}  // namespace hearth
