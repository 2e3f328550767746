#include "packing.h"

#include <algorithm>
#include <cstring>

#include "../../error.h"
#include "../half.h"
#include "kv_cells.h"
#include "random_weights.h"

namespace hearth {
namespace {

constexpr uint32_t kLayoutId = 1;  // raise when the packing changes

constexpr int kGroup = 4;  // columns of a row that lie together in a quantized tile

// Bytes per 32 columns of a row in a file: what comes before the quants, and the quants.
struct BlockFormat {
  int header_bytes;
  int quant_bytes;
};

BlockFormat block_format(DType dtype) {
  switch (dtype) {
    case DType::kQ8_0: return {2, 32};
    case DType::kQ4_0: return {2, 16};
    default: return {4, 16};  // Q4_1
  }
}

uint16_t load_u16(const std::byte* from) {
  uint16_t value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <class Element>
void pack_columns(int32_t cols, const std::byte* source, int32_t num_rows, std::byte* dst) {
  for (int32_t row = 0; row < num_rows; ++row) {
    const std::byte* from = source + size_t(row) * cols * sizeof(Element);
    for (int32_t col = 0; col < cols; ++col) {
      std::memcpy(dst + (size_t(col) * kTileRows + row) * sizeof(Element),
                  from + size_t(col) * sizeof(Element), sizeof(Element));
    }
  }
}

void pack_blocks(BlockFormat format, int32_t cols, const std::byte* source, int32_t num_rows,
                 std::byte* dst) {
  const int32_t blocks = cols / kGroupCols;
  const size_t source_block = format.header_bytes + format.quant_bytes;
  for (int32_t row = 0; row < num_rows; ++row) {
    for (int32_t block = 0; block < blocks; ++block) {
      const std::byte* from = source + (size_t(row) * blocks + block) * source_block;
      std::byte* header = dst + block * source_block * kTileRows;
      for (int half = 0; half < format.header_bytes / 2; ++half) {  // scale, then minimum
        std::memcpy(header + (half * kTileRows + row) * 2, from + half * 2, 2);
      }
      std::byte* quants = header + format.header_bytes * kTileRows;
      for (int group = 0; group < format.quant_bytes / kGroup; ++group) {
        std::memcpy(quants + (group * kTileRows + row) * kGroup,
                    from + format.header_bytes + group * kGroup, kGroup);
      }
    }
  }
}

}  // namespace

WeightLayout tile_layout(SourceFormat source, int32_t rows, int32_t cols) {
  if (is_quantized(source) && cols % kGroupCols != 0) {
    throw Error(HEARTH_UNSUPPORTED,
                format("Cannot store weight: columns of a quantized weight must "
                       "be a multiple of 32: current value is %d",
                       cols));
  }
  const size_t bytes = row_bytes(source, cols) * kTileRows;
  return {kLayoutId, source, DType(source), rows, cols, kTileRows, (bytes + 63) / 64 * 64};
}

void pack_tile(const WeightLayout& layout, const std::byte* source, int32_t num_rows,
               std::byte* dst) {
  std::memset(dst, 0, layout.tile_bytes);
  switch (layout.dtype) {
    case DType::kF32: return pack_columns<uint32_t>(layout.cols, source, num_rows, dst);
    case DType::kF16:
    case DType::kBF16: return pack_columns<uint16_t>(layout.cols, source, num_rows, dst);
    default: return pack_blocks(block_format(layout.dtype), layout.cols, source, num_rows, dst);
  }
}

void unpack_row(const WeightLayout& layout, const std::byte* tile, int32_t row, float* out) {
  const auto element = [&](int32_t col, size_t bytes) {
    return tile + (size_t(col) * kTileRows + row) * bytes;
  };
  switch (layout.dtype) {
    case DType::kF32:
      for (int32_t col = 0; col < layout.cols; ++col) std::memcpy(out + col, element(col, 4), 4);
      return;
    case DType::kF16:
      for (int32_t col = 0; col < layout.cols; ++col) {
        out[col] = float_from_half(load_u16(element(col, 2)));
      }
      return;
    case DType::kBF16:
      for (int32_t col = 0; col < layout.cols; ++col) {
        out[col] = float_from_bf16(load_u16(element(col, 2)));
      }
      return;
    default: break;
  }
  const BlockFormat format = block_format(layout.dtype);
  for (int32_t block = 0; block < layout.cols / kGroupCols; ++block) {
    const std::byte* header =
        tile + size_t(block) * (format.header_bytes + format.quant_bytes) * kTileRows;
    const std::byte* quants = header + format.header_bytes * kTileRows;
    const float scale = float_from_half(load_u16(header + row * 2));
    const float minimum = layout.dtype == DType::kQ4_1
                              ? float_from_half(load_u16(header + (kTileRows + row) * 2))
                              : 0.0f;
    for (int i = 0; i < kGroupCols; ++i) {
      const int column = i % format.quant_bytes;  // of the byte: 4-bit types hold two in one
      const int byte = int(quants[(column / kGroup * kTileRows + row) * kGroup + column % kGroup]);
      const int nibble = i < 16 ? byte & 15 : byte >> 4;
      float value;
      switch (layout.dtype) {
        case DType::kQ8_0: value = scale * float(int8_t(byte)); break;
        case DType::kQ4_0: value = scale * float(nibble - 8); break;
        default: value = scale * float(nibble) + minimum; break;
      }
      out[block * kGroupCols + i] = value;
    }
  }
}

namespace {

class CpuPacker final : public Packer {
 public:
  explicit CpuPacker(Device& device) : device_(device) {}

  WeightLayout layout(SourceFormat format, int32_t rows, int32_t cols) const override {
    return tile_layout(format, rows, cols);
  }
  void check_gated(const WeightLayout&, const WeightLayout&) const override {}
  Ticket pack(const WeightLayout& layout, const std::byte* source, int32_t num_rows,
              std::byte* tiles, Ticket after) override {
    device_.wait(after);
    const size_t source_row = row_bytes(layout.source, layout.cols);
    for (int32_t row = 0; row < num_rows; row += kTileRows, tiles += layout.tile_bytes) {
      pack_tile(layout, source + row * source_row, std::min(kTileRows, num_rows - row), tiles);
    }
    return {};
  }

  Ticket randomize(const WeightLayout& layout, std::byte* tiles, int32_t num_tiles,
                   uint64_t seed) override {
    std::vector<std::byte> rows(layout.tile_rows * row_bytes(layout.source, layout.cols));
    for (int32_t tile = 0; tile < num_tiles; ++tile) {
      random_rows(layout.source, layout.cols, layout.tile_rows, seed + uint64_t(tile), rows.data());
      pack_tile(layout, rows.data(), layout.tile_rows, tiles + size_t(tile) * layout.tile_bytes);
    }
    return {};
  }

  int32_t kv_element(const KvSpec& spec, bool is_value, int32_t token, int32_t dim) const override {
    return kv_cell_element(spec, is_value ? KvPart::kValue : KvPart::kKey, token, dim);
  }

 private:
  Device& device_;
};

}  // namespace

std::unique_ptr<Packer> make_cpu_packer(Device& device) {
  return std::make_unique<CpuPacker>(device);
}

}  // namespace hearth
