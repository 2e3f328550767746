#include "weights.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>

#include "backend/cuda/strip_words.h"
#include "device_memory.h"
#include "inputs.h"

namespace hearth::gpu_tests {

FileWeight::FileWeight(SourceFormat format, int32_t rows, int32_t cols, uint32_t seed)
    : layout(cuda::strip_layout(format, rows, cols)), bytes(rows * row_bytes(format, cols)),
      values(size_t(rows) * cols) {
  for (int32_t row = 0; row < rows; ++row) {
    is_quantized(format) ? make_quants(row, seed) : make_floats(row, seed);
  }
}

void FileWeight::make_floats(int32_t row, uint32_t seed) {
  std::byte* const to = bytes.data() + row * row_bytes(layout.source, layout.cols);
  for (int32_t col = 0; col < layout.cols; ++col) {
    const size_t at = size_t(row) * layout.cols + col;
    const float value = exact_half(seed, at) / 8;
    values[at] = value;
    if (dtype() == DType::kF32) {
      std::memcpy(to + col * 4, &value, 4);
    } else {
      const uint16_t bits = half_bits(dtype(), value);
      std::memcpy(to + col * 2, &bits, 2);
    }
  }
}

void FileWeight::make_quants(int32_t row, uint32_t seed) {
  std::byte* to = bytes.data() + row * row_bytes(layout.source, layout.cols);
  const size_t group_bytes = row_bytes(layout.source, 32);
  const float limit = dtype() == DType::kQ8_0 ? 128 : 8;
  for (int32_t col = 0; col < layout.cols; col += 32, to += group_bytes) {
    const size_t at = size_t(row) * layout.cols + col;
    const uint16_t scale =
        half_bits(DType::kF16, (random_value(seed + 1, at) + 1.5f) / (limit * 8));
    const uint16_t minimum = half_bits(DType::kF16, -0.15f - random_value(seed + 2, at) / 9);
    std::memcpy(to, &scale, 2);
    std::byte* quants = to + 2;
    if (dtype() == DType::kQ4_1) {
      std::memcpy(to + 2, &minimum, 2);
      quants = to + 4;
    }
    for (int i = 0; i < 32; ++i) {
      const int quant = int((random_value(seed + 3, at + i) + 1) * limit);  // 0 to 2 limit
      double value = half_value(DType::kF16, scale);
      if (dtype() == DType::kQ8_0) {
        quants[i] = std::byte(uint8_t(int8_t(quant - 128)));
        value *= quant - 128;
      } else {
        std::byte& byte = quants[i % 16];
        byte = i < 16 ? std::byte(quant) : byte | std::byte(quant << 4);
        value = dtype() == DType::kQ4_0 ? value * (quant - 8)
                                        : value * quant + half_value(DType::kF16, minimum);
      }
      values[at + i] = value;
    }
  }
}

std::vector<std::byte> pack_strips(const WeightLayout& layout, const std::vector<std::byte>& bytes,
                                   int32_t first, int32_t count) {
  const size_t row_size = row_bytes(layout.source, layout.cols);
  const int32_t slab_words = cuda::slab_bytes(layout.dtype) / 4;
  std::vector<std::byte> packed(count * layout.tile_bytes);
  for (int32_t strip = 0; strip < count; ++strip) {
    const int32_t row = (first + strip) * cuda::kStripRows;
    const cuda::StripRows rows{bytes.data() + row * row_size, row_size,
                               std::min(cuda::kStripRows, layout.rows - row), layout.cols};
    for (int32_t i = 0; i < int32_t(layout.tile_bytes) / 4; ++i) {
      const uint32_t word = cuda::strip_word(layout.source, rows, i / slab_words, i % slab_words);
      std::memcpy(packed.data() + strip * layout.tile_bytes + i * 4, &word, 4);
    }
  }
  return packed;
}

PagedWeight::PagedWeight(Device& device, const FileWeight& weight, int32_t first_strips,
                         int32_t strips_per_page, Order order, uint32_t seed)
    : table_(device, 1 + (std::max(weight.num_strips() - first_strips, 0) + strips_per_page - 1) /
                             strips_per_page) {
  constexpr uint32_t kFirstOffset = 192;  // a multiple of 64, and of nothing larger
  const size_t strip_bytes = weight.layout.tile_bytes;
  const size_t page_bytes = kFirstOffset + std::max(first_strips, strips_per_page) * strip_bytes;
  std::vector<size_t> places(table_.device_bytes() / sizeof(std::byte*));
  std::iota(places.begin(), places.end(), 0);
  if (order == Order::kShuffled) {
    std::shuffle(places.begin(), places.end(), std::mt19937(seed));
  } else {
    std::reverse(places.begin(), places.end());
  }

  std::vector<std::byte> pages(2 * places.size() * page_bytes, std::byte(0xff));
  int32_t strip = 0;
  for (size_t page = 0; page < places.size(); ++page) {
    const int32_t count =
        std::min(page == 0 ? first_strips : strips_per_page, weight.num_strips() - strip);
    const std::vector<std::byte> packed = pack_strips(weight.layout, weight.bytes, strip, count);
    std::copy(packed.begin(), packed.end(),
              pages.begin() + places[page] * page_bytes + (page == 0 ? kFirstOffset : 0));
    strip += count;
  }
  pages_ = upload(device, pages);
  std::vector<std::byte*> addresses;
  for (const size_t place : places) addresses.push_back(pages_.data() + place * page_bytes);
  device.wait(table_.set(0, addresses));

  WeightView view;
  view.layout = weight.layout;
  view.pages = table_.entry(0);
  view.first_offset = kFirstOffset;
  view.first_tiles = std::min(first_strips, weight.num_strips());
  view.tiles_per_page = strips_per_page;
  ref = cuda::WeightRef(view);
  guess = cuda::guess_pages(view);
  wrong_guess = {pages_.data() + places.size() * page_bytes, ptrdiff_t(page_bytes)};
}

}  // namespace hearth::gpu_tests
