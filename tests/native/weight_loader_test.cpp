// The loader over a device whose copies are late: what it packs, and what it leaves behind where a
// copy or a read fails, or where it is cancelled.
#include "model/weight_loader.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <utility>

#include "backend/cpu/packing.h"
#include "check.h"
#include "test_device.h"

namespace hearth::test {
namespace {

/// Tensors of random bytes in one file, removed by the destructor.
class SourceFiles {
 public:
  SourceFiles() {
    path_ = std::filesystem::temp_directory_path() / "hearth_load_XXXXXX";
    const int descriptor = mkstemp(path_.data());
    CHECK(descriptor >= 0);
    ::close(descriptor);
    std::mt19937_64 random(3);
    // Most lack rows of a last tile; each half of the second is two pieces.
    add(FileFormat::kF32, 37, 24, random);
    add(FileFormat::kF16, 1000, 2200, random);
    add(FileFormat::kQ8_0, 65, 32, random);
    add(FileFormat::kQ6_K, 3000, 768, random);  // decoded, in several pieces
    for (int i = 0; i < 12; ++i) add(FileFormat::kBF16, 16 * i + 1, 8, random);
    std::ofstream(path_, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes_.data()), std::streamsize(bytes_.size()));
    files.emplace_back(path_);
  }
  ~SourceFiles() { std::remove(path_.c_str()); }
  SourceFiles(const SourceFiles&) = delete;
  SourceFiles& operator=(const SourceFiles&) = delete;

  void cut(uint64_t bytes) const { std::filesystem::resize_file(path_, bytes); }
  uint64_t size() const { return bytes_.size(); }
  /// Rows as a packer takes them.
  std::vector<std::byte> rows(const TensorSource& tensor, int32_t row, int32_t count) const {
    const size_t from = row_bytes(tensor.format, tensor.cols);
    const std::byte* begin = bytes_.data() + tensor.offset + row * from;
    if (!needs_decoding(tensor.format)) return {begin, begin + count * from};
    std::vector<std::byte> decoded(count * row_bytes(packer_format(tensor.format), tensor.cols));
    decode_rows(tensor.format, begin, count * from, decoded.data());
    return decoded;
  }

  std::vector<TensorSource> tensors;
  std::vector<WeightsFile> files;

 private:
  void add(FileFormat format, int32_t rows, int32_t cols, std::mt19937_64& random) {
    const uint64_t size = rows * row_bytes(format, cols);
    tensors.push_back({"t", 0, 0, format, rows, cols, 0, bytes_.size(), size});
    bytes_.resize(bytes_.size() + size);
    for (uint64_t i = 0; i < size; i += 4) {
      const uint32_t word = uint32_t(random());
      std::memcpy(&bytes_[bytes_.size() - size + i], &word, std::min<uint64_t>(4, size - i));
    }
  }

  std::string path_;
  std::vector<std::byte> bytes_;
};

/// A loader over late copies, and memory for what it loads.
struct LateLoad {
  LateLoad(const SourceFiles& source, uint64_t seed) : source(source) {
    auto owned = std::make_unique<TestDevice>(seed, faults);
    device = owned.get();
    backend = make_test_backend({.num_threads = 1}, std::move(owned));
    for (const TensorSource& tensor : source.tensors) {
      layouts.push_back(tile_layout(packer_format(tensor.format), tensor.rows, tensor.cols));
    }
    for (size_t i = 0; i < layouts.size(); ++i) {
      const WeightLayout& layout = layouts[i];
      memory.push_back(device->allocate(layout.num_tiles() * layout.tile_bytes));
      // In two runs, as where a page ends within a tensor.
      const int32_t half = layout.num_tiles() / 2;
      for (const auto& [first, end] : {std::pair{0, half}, std::pair{half, layout.num_tiles()}}) {
        if (first == end) continue;
        runs.push_back({&source.tensors[i], &layout, first, end - first,
                        memory.back().data() + first * layout.tile_bytes});
      }
    }
  }

  void load(int32_t num_threads) {
    const WeightLoader loader(backend, source.files, bytes_loaded, cancelled);
    loader.load(runs, num_threads);
  }
  /// Nothing is left under way, nothing was done too early.
  void check_device() {
    CHECK_EQUAL(device->num_pending(), 0u);
    faults.check();
  }
  void check_tiles() const {
    for (size_t i = 0; i < layouts.size(); ++i) {
      const WeightLayout& layout = layouts[i];
      std::vector<std::byte> expected(layout.tile_bytes);
      for (int32_t tile = 0; tile < layout.num_tiles(); ++tile) {
        const int32_t row = tile * layout.tile_rows;
        const int32_t count = std::min(layout.tile_rows, layout.rows - row);
        pack_tile(layout, source.rows(source.tensors[i], row, count).data(), count,
                  expected.data());
        CHECK(std::memcmp(memory[i].data() + tile * layout.tile_bytes, expected.data(),
                          layout.tile_bytes) == 0);
      }
    }
  }

  const SourceFiles& source;
  DeviceFaults faults;
  TestDevice* device;  // the backend's
  Backend backend;
  std::vector<WeightLayout> layouts;
  std::vector<Memory> memory;
  std::vector<WeightRun> runs;
  std::atomic<uint64_t> bytes_loaded{0};
  std::atomic<bool> cancelled{false};
};

TEST("WeightLoader packs every row, however late copies are") {
  const SourceFiles source;
  for (uint64_t seed = 0; seed < 12; ++seed) {
    LateLoad late(source, seed);
    late.load(std::array{1, 2, 4, 16}[seed % 4]);
    late.check_device();
    late.check_tiles();
    CHECK_EQUAL(late.bytes_loaded.load(), source.size());
  }
}

TEST("WeightLoader waits for all random weights") {
  const SourceFiles source;
  for (uint64_t seed = 0; seed < 5; ++seed) {
    LateLoad late(source, seed), again(source, seed + 100);
    for (LateLoad* load : {&late, &again}) {
      const WeightLoader loader(load->backend, source.files, load->bytes_loaded, load->cancelled);
      loader.randomize(load->runs, source.tensors.data());
      load->check_device();
    }
    for (size_t i = 0; i < late.memory.size(); ++i) {
      CHECK(std::memcmp(late.memory[i].data(), again.memory[i].data(), late.memory[i].bytes()) ==
            0);
    }
  }
}

TEST("WeightLoader tells a copy's failure, and leaves nothing under way") {
  const SourceFiles source;
  for (uint64_t n = 1; n <= 40; n += 3) {
    LateLoad late(source, n), random(source, n);
    late.device->fail_copy(n);
    CHECK_ERROR(HEARTH_INTERNAL, TestDevice::kFailure, late.load(1 + int32_t(n % 5)));
    late.check_device();
    random.device->fail_copy(1 + n % random.runs.size());
    const WeightLoader loader(random.backend, source.files, random.bytes_loaded, random.cancelled);
    CHECK_ERROR(HEARTH_INTERNAL, TestDevice::kFailure,
                loader.randomize(random.runs, source.tensors.data()));
    random.check_device();
  }
}

TEST("WeightLoader stops where it is cancelled, with copies under way") {
  const SourceFiles source;
  for (uint64_t seed = 1; seed < 12; ++seed) {
    LateLoad late(source, seed);
    late.device->on_copy = [&](uint64_t number) {
      if (number == seed) late.cancelled = true;
    };
    late.load(1 + int32_t(seed % 3));
    late.check_device();
    CHECK(late.bytes_loaded < source.size());
  }
}

TEST("WeightLoader tells that a file has become shorter, with copies under way") {
  for (uint64_t seed = 1; seed < 8; ++seed) {
    const SourceFiles source;
    LateLoad late(source, seed);
    late.device->on_copy = [&](uint64_t number) {
      if (number == seed) source.cut(100);
    };
    CHECK_ERROR(HEARTH_IO_ERROR, "it has become shorter", late.load(1 + int32_t(seed % 3)));
    late.check_device();
  }
}

}  // namespace
}  // namespace hearth::test
