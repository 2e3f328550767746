// Strips that the device packs are byte by byte those that strip_word() makes on the host: of every
// format, of odd columns, in last strips that are not full, and by some rows at a time into pages
// without an order. Nothing beside them is written.
#include <algorithm>
#include <cstring>
#include <random>

#include "backend/cuda/packer.h"
#include "gpu_tests.h"
#include "weights.h"

namespace hearth::gpu_tests {
namespace {

using namespace hearth::cuda;

struct Shape {
  int32_t rows, cols;
  int32_t strips_per_page;
};

std::vector<std::byte> random_bytes(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> bytes(count);
  for (std::byte& byte : bytes) byte = std::byte(random());
  return bytes;
}

/// Rows of any bytes: packing looks at none of their values.
void check_shape(CudaDevice& device, Packer& packer, SourceFormat format, const Shape& shape,
                 uint32_t seed) {
  const WeightLayout layout = packer.layout(format, shape.rows, shape.cols);
  const std::string what =
      hearth::format("pack %s %d x %d", dtype_name(layout.dtype), shape.rows, shape.cols);
  note(what);
  const size_t row_size = row_bytes(format, shape.cols);
  const std::vector<std::byte> rows = random_bytes(shape.rows * row_size, seed);

  // Pages in reverse, with a strip's bytes between two that nobody may write.
  const int32_t num_pages =
      (layout.num_tiles() + shape.strips_per_page - 1) / shape.strips_per_page;
  const size_t page_bytes = (shape.strips_per_page + 1) * layout.tile_bytes;
  const Memory pages = poisoned(device, num_pages * page_bytes);
  std::vector<std::byte> expected(pages.bytes(), std::byte(0xff));

  // The rows begin at an odd address: the bytes of a file may.
  const Memory source = device.allocate(rows.size() + 1);
  const Ticket ready = device.copy(source.data() + 1, rows.data(), rows.size(), device.mark());
  std::vector<Ticket> packed;
  for (int32_t page = 0; page < num_pages; ++page) {
    const int32_t first = page * shape.strips_per_page;
    const int32_t strips = std::min(shape.strips_per_page, layout.num_tiles() - first);
    const int32_t row = first * kStripRows;
    const int32_t num_rows = std::min(strips * kStripRows, shape.rows - row);
    const size_t at = (num_pages - 1 - page) * page_bytes;
    packed.push_back(packer.pack(layout, source.data() + 1 + row * row_size, num_rows,
                                 pages.data() + at, ready));
    const std::vector<std::byte> own = pack_strips(layout, rows, first, strips);
    std::copy(own.begin(), own.end(), expected.begin() + at);
  }
  for (const Ticket ticket : packed) device.wait(ticket);
  const std::vector<std::byte> actual = download<std::byte>(device, pages);
  const auto [differs, other] = std::mismatch(actual.begin(), actual.end(), expected.begin());
  if (differs != actual.end()) {
    fail("%s: byte %td of the pages is %u, not %u", what.c_str(), differs - actual.begin(),
         unsigned(*differs), unsigned(*other));
  }
}

}  // namespace

void check_packer(CudaDevice& device, const Options& options) {
  const std::unique_ptr<Packer> packer = make_packer(device);
  uint32_t seed = 900;
  for (const SourceFormat format :
       {SourceFormat::kF32, SourceFormat::kF16, SourceFormat::kBF16, SourceFormat::kQ8_0,
        SourceFormat::kQ4_0, SourceFormat::kQ4_1}) {
    std::vector<Shape> shapes = {{1, 1, 1}, {16, 64, 4}, {17, 33, 1}, {203, 577, 3}, {1040, 75, 7}};
    if (is_quantized(format)) {
      shapes = {{1, 32, 1}, {16, 64, 4}, {17, 96, 1}, {203, 608, 3}, {1040, 160, 7}};
    }
    // More words than the kernel has threads.
    if (!options.reduced) shapes.push_back({4099, 1056, 100});
    for (const Shape& shape : shapes) check_shape(device, *packer, format, shape, seed++);
  }
  std::printf("packer: %u shapes\n", seed - 900);
  std::fflush(stdout);
}

}  // namespace hearth::gpu_tests
