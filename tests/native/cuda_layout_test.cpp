// How weights, operands and KV lie for the CUDA kernels: read back element by element from what
// layout.h documents, written here a second time.
#include <cmath>
#include <cstring>
#include <random>
#include <set>
#include <tuple>
#include <vector>

#include "backend/cuda/layout.h"
#include "backend/cuda/strip_words.h"
#include "backend/half.h"
#include "check.h"

namespace hearth::test {
namespace {

using namespace cuda;

constexpr SourceFormat kFormats[] = {SourceFormat::kF32,  SourceFormat::kF16,  SourceFormat::kBF16,
                                     SourceFormat::kQ8_0, SourceFormat::kQ4_0, SourceFormat::kQ4_1};

/// A weight's rows as in a file, of random bits but finite scales.
std::vector<std::byte> random_rows(SourceFormat format, int32_t rows, int32_t cols, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> bytes(rows * row_bytes(format, cols));
  for (std::byte& byte : bytes) byte = std::byte(random());
  if (is_quantized(format)) {
    const size_t group_bytes = row_bytes(format, 32);
    for (size_t at = 0; at < bytes.size(); at += group_bytes) {
      for (int i = 0; i < (format == SourceFormat::kQ4_1 ? 2 : 1); ++i) {
        const uint16_t half = half_from_float(float(int(random() % 2001) - 1000) / 512);
        std::memcpy(&bytes[at + 2 * size_t(i)], &half, 2);
      }
    }
  }
  return bytes;
}

template <class T>
T read(const std::byte* from, size_t index = 0) {
  T value;
  std::memcpy(&value, from + index * sizeof(T), sizeof value);
  return value;
}

/// The bits of an element of a plain type; value of a quantized one.
double file_value(SourceFormat format, const std::byte* row, int32_t col) {
  switch (format) {
    case SourceFormat::kF32: return read<uint32_t>(row, size_t(col));
    case SourceFormat::kF16:
    case SourceFormat::kBF16: return read<uint16_t>(row, size_t(col));
    default: break;
  }
  const std::byte* group = row + row_bytes(format, col / 32 * 32);
  const double scale = float_from_half(read<uint16_t>(group));
  const int i = col % 32;
  if (format == SourceFormat::kQ8_0) return scale * read<int8_t>(group + 2, size_t(i));
  const auto nibble = [&](const std::byte* nibbles) {
    const int both = std::to_integer<int>(nibbles[i % 16]);
    return i < 16 ? both & 15 : both >> 4;
  };
  if (format == SourceFormat::kQ4_0) return scale * (nibble(group + 2) - 8);
  return scale * nibble(group + 4) + float_from_half(read<uint16_t>(group, 1));
}

/// The same out of a packed strip, by the drawing of layout.h.
double strip_value(DType dtype, const std::byte* strip, int32_t row, int32_t col) {
  const std::byte* slab = strip + size_t(col / 64) * size_t(slab_bytes(dtype));
  const int at = col % 64;
  if (dtype == DType::kF32) return read<uint32_t>(slab, size_t(row * 64 + at));
  const int step = at / 16, g = row % 8;
  // Pair i: bit 0 for the upper rows, bit 1 for the upper columns.
  const int i = (row >= 8 ? 1 : 0) + (at % 16 >= 8 ? 2 : 0);
  const int t = at % 8 / 2, which = at % 2;
  const int lane = g * 4 + t;
  const size_t element = size_t(((step * 32 + lane) * 4 + i) * 2 + which);
  if (dtype == DType::kF16 || dtype == DType::kBF16) return read<uint16_t>(slab, element);
  const std::byte* scales = slab + (dtype == DType::kQ8_0 ? 1024 : 512);
  const size_t group = size_t(at / 32 * 16 + row);
  const double scale = float_from_half(read<uint16_t>(scales, group));
  if (dtype == DType::kQ8_0) return scale * read<int8_t>(slab, element);
  const uint32_t word = read<uint32_t>(slab, size_t(step * 32 + lane));
  const int quant = int(word >> (4 * i + 16 * which) & 15);
  if (dtype == DType::kQ4_0) return scale * (quant - 8);
  return scale * quant + float_from_half(read<uint16_t>(scales + 64, group));
}

/// A strip by the words that the device's threads make.
std::vector<std::byte> pack(const WeightLayout& layout, const std::byte* source, int32_t num_rows) {
  const int32_t words = slab_bytes(layout.dtype) / 4;
  const StripRows rows{source, row_bytes(layout.source, layout.cols), num_rows, layout.cols};
  std::vector<std::byte> strip(layout.tile_bytes);
  for (size_t i = 0; i < layout.tile_bytes / 4; ++i) {
    const uint32_t word = strip_word(layout.source, rows, int32_t(i) / words, int32_t(i) % words);
    std::memcpy(&strip[i * 4], &word, 4);
  }
  return strip;
}

TEST("strip_word() puts every element where layout.h says, and zeros everywhere else") {
  for (const SourceFormat source : kFormats) {
    for (const auto& [rows, cols] : {std::pair{16, 64}, {1, 32}, {33, 96}, {40, 160}, {16, 1056}}) {
      for (const int32_t odd : {0, 1, 31}) {
        const int32_t width = is_quantized(source) ? cols : cols - odd;
        const WeightLayout layout = strip_layout(source, rows, width);
        CHECK_EQUAL(layout.tile_rows, kStripRows);
        CHECK_EQUAL(layout.tile_bytes % 64, 0u);
        const size_t source_row = row_bytes(source, width);
        const auto file = random_rows(source, rows, width, uint32_t(rows * 1000 + width));
        for (int32_t first = 0; first < rows; first += kStripRows) {
          const int32_t count = std::min(kStripRows, rows - first);
          const auto strip = pack(layout, file.data() + size_t(first) * source_row, count);
          for (int32_t row = 0; row < kStripRows; ++row) {
            for (int32_t col = 0; col < round_up(width, kSlabCols); ++col) {
              const bool inside = row < count && col < width;
              const double expected =
                  inside ? file_value(source, file.data() + size_t(first + row) * source_row, col)
                         : 0;
              const double found = strip_value(layout.dtype, strip.data(), row, col);
              // A padding quant of Q4_0 is 0 - 8 times a scale of 0.
              if (found == expected) continue;
              fail(__FILE__, __LINE__,
                   format("format %u, %d x %d: (%d, %d) is %g, not %g", unsigned(source), rows,
                          width, first + row, col, found, expected));
            }
          }
        }
      }
    }
  }
}

TEST("strip_layout() refuses quantized rows that end inside a group") {
  CHECK_ERROR(HEARTH_UNSUPPORTED, "multiple of 32: current value is 33",
              strip_layout(SourceFormat::kQ8_0, 16, 33));
}

TEST("operand_element() gives every element a place of its own within operand_bytes()") {
  for (const int32_t rows : {1, 7, 8, 9, 64, 130}) {
    for (const int32_t cols : {1, 63, 64, 65, 200}) {
      const int32_t padded_rows = round_up(rows, 8), padded_cols = round_up(cols, kSlabCols);
      std::set<size_t> places;
      for (int32_t row = 0; row < padded_rows; ++row) {
        for (int32_t col = 0; col < padded_cols; ++col) {
          places.insert(operand_element(row, col, padded_rows));
        }
      }
      const size_t count = size_t(padded_rows) * size_t(padded_cols);
      CHECK_EQUAL(places.size(), count);
      CHECK_EQUAL(*places.rbegin(), count - 1);
      CHECK_EQUAL(operand_bytes(rows, cols), count * 2);
    }
  }
  // A core matrix: 8 rows of 8 columns behind one another; then the next octet of columns.
  CHECK_EQUAL(operand_element(1, 2, 16), 10u);
  CHECK_EQUAL(operand_element(0, 8, 16), 64u);
  CHECK_EQUAL(operand_element(8, 0, 16), 512u);
  CHECK_EQUAL(operand_element(0, 64, 16), 1024u);
}

TEST("kv_cell_element() gives every element of a cell a place of its own") {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (const int32_t head_dim : {2, 20, 48, 64, 80, 96, 128, 256}) {
      for (const int32_t block_tokens : {16, 32, 64}) {
        const KvSpec spec{1, 1, head_dim, block_tokens, dtype};
        CHECK_EQUAL(has_core_matrices(spec), dtype != DType::kF32 && head_dim % 16 == 0);
        std::set<int32_t> places;
        for (int32_t token = 0; token < block_tokens; ++token) {
          for (int32_t dim = 0; dim < head_dim; ++dim) {
            places.insert(kv_cell_element(spec, token, dim));
          }
        }
        CHECK_EQUAL(int32_t(places.size()), block_tokens * head_dim);
        CHECK_EQUAL(*places.begin(), 0);
        CHECK_EQUAL(*places.rbegin(), block_tokens * head_dim - 1);
      }
    }
  }
}

TEST("strip_address() finds every strip in its page, at any offset and in any number of pages") {
  for (const auto& [first, per_page, strips] :
       {std::tuple{1, 1, 1}, {5, 9, 5}, {2, 7, 9}, {3, 8, 32}, {8, 8, 24}, {1, 3, 1000}}) {
    WeightView view;
    view.layout = strip_layout(SourceFormat::kF16, strips * kStripRows - 3, 100);
    view.first_tiles = first;
    view.tiles_per_page = per_page;
    view.first_offset = 4096;
    std::vector<std::byte> memory(size_t(strips + 2) * size_t(per_page + 1) * 4096);
    std::vector<const std::byte*> pages;  // in falling order: nothing may count on neighbours
    for (int32_t covered = 0; covered < strips; covered += covered == 0 ? first : per_page) {
      pages.push_back(memory.data() + memory.size() - (pages.size() + 1) * size_t(per_page) * 4096);
    }
    CHECK_EQUAL(size_t(view.num_pages()), pages.size());
    view.pages = {pages.data(), pages.data()};
    const WeightRef weight(view);
    const PageGuess guess = guess_pages(view);
    CHECK(guess.first == pages[0]);
    CHECK_EQUAL(weight.rows, view.layout.rows);
    CHECK_EQUAL(weight.slabs, 2);
    CHECK_EQUAL(weight.strip_bytes, 4096);
    for (int32_t strip = 0; strip < strips; ++strip) {
      const int32_t rest = strip - first;
      const std::byte* const expected =
          rest < 0 ? pages[0] + 4096 + strip * 4096
                   : pages[size_t(1 + rest / per_page)] + rest % per_page * 4096;
      CHECK(strip_address(weight, strip) == expected);
      const StripPlace place = strip_place(weight, strip);
      CHECK(guess.page(place.page) + place.offset == expected);
    }
    // Where a page lies out of step, nothing is guessed.
    for (size_t page = 0; pages.size() > 2 && page < pages.size(); ++page) {
      std::vector<const std::byte*> moved = pages;
      moved[page] += 64;
      view.pages.host = moved.data();
      CHECK(guess_pages(view).first == nullptr);
    }
  }
  CHECK_EQUAL(WeightRef().rows, 0);
  static_assert(sizeof(WeightRef) == 32);
}

}  // namespace
}  // namespace hearth::test
