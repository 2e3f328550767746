// Loading over a device whose copies are late: the loader by itself, then a model in an engine.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <utility>

#include "backend/cpu/packing.h"
#include "check.h"
#include "engine/engine_loop.h"
#include "engine/native_model.h"
#include "model/weight_loader.h"
#include "test_device.h"
#include "tiny_model.h"

namespace hearth::test {
namespace {

// ----------------------------------------------------------------------------------- the loader

/// Tensors of random bytes in one file, removed by the destructor.
class SourceFiles {
 public:
  SourceFiles() {
    path_ = std::filesystem::temp_directory_path() / "hearth_load_XXXXXX";
    const int descriptor = mkstemp(path_.data());
    CHECK(descriptor >= 0);
    ::close(descriptor);
    std::mt19937_64 random(3);
    // The last tile of each lacks rows; the second has rows for three pieces of 2 MiB.
    add(SourceFormat::kF32, 37, 24, random);
    add(SourceFormat::kF16, 1000, 2200, random);
    add(SourceFormat::kQ8_0, 65, 32, random);
    for (int i = 0; i < 12; ++i) add(SourceFormat::kBF16, 16 * i + 1, 8, random);
    std::ofstream(path_, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes_.data()), std::streamsize(bytes_.size()));
    files.emplace_back(path_);
  }
  ~SourceFiles() { std::remove(path_.c_str()); }
  SourceFiles(const SourceFiles&) = delete;
  SourceFiles& operator=(const SourceFiles&) = delete;

  void cut(uint64_t bytes) const { std::filesystem::resize_file(path_, bytes); }
  uint64_t size() const { return bytes_.size(); }
  const std::byte* rows(const TensorSource& tensor, int32_t row) const {
    return bytes_.data() + tensor.offset + row * row_bytes(tensor.format, tensor.cols);
  }

  std::vector<TensorSource> tensors;
  std::vector<WeightsFile> files;

 private:
  void add(SourceFormat format, int32_t rows, int32_t cols, std::mt19937_64& random) {
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
      layouts.push_back(tile_layout(tensor.format, tensor.rows, tensor.cols));
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
        pack_tile(layout, source.rows(source.tensors[i], row),
                  std::min(layout.tile_rows, layout.rows - row), expected.data());
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
  std::vector<TileRun> runs;
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
      CHECK(std::memcmp(late.memory[i].data(), again.memory[i].data(), late.memory[i].bytes()) == 0);
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

// -------------------------------------------------------------------------------- a whole model

/// Opens a model over a device of the test's. device: made for it, or null for the CPU's own.
std::unique_ptr<NativeModel> open_model(const TinyModel& tiny, std::unique_ptr<TestDevice> device) {
  const hearth_engine_options options = tiny.sized_options();
  ModelSource source{options, tiny.spec, tiny.tensors.data(), tiny.files.data(), tiny.flat.data()};
  if (device != nullptr) {
    source.cpu_backend = [&](const CpuOptions& cpu) {
      return make_test_backend(cpu, std::move(device));
    };
  }
  return std::make_unique<NativeModel>(source);
}

Engine engine_of(std::unique_ptr<NativeModel> model) {
  const EngineConfig& config = model->config();
  return Engine(config, std::move(model));
}

/// What a request's tokens and logprobs are, bit by bit.
using Bits = std::vector<uint32_t>;

Bits generate(Engine& engine) {
  std::vector<uint32_t> prompt;
  for (uint32_t i = 0; i < 20; ++i) prompt.push_back((i * i + 3) % TinyModel::kVocab);
  hearth_request_options options = greedy_options(12);
  options.temperature = 1;
  options.num_sequences = 2;
  options.has_seed = 1;
  options.logprobs = options.prompt_logprobs = 3;
  engine.submit(prompt.data(), uint32_t(prompt.size()), options, nullptr);
  Bits bits;
  while (engine.step() > 0) engine.check_integrity();
  std::vector<hearth_event> events(64);
  alignas(8) uint8_t payload[4096];
  int32_t count;
  while ((count = engine.poll(events.data(), 64, payload, sizeof(payload), {})) > 0) {
    for (int32_t i = 0; i < count; ++i) {
      const hearth_event& event = events[size_t(i)];
      CHECK(event.kind != HEARTH_EVENT_ERROR);
      bits.insert(bits.end(), {event.kind, event.sequence, event.token,
                               std::bit_cast<uint32_t>(event.logprob)});
      const uint8_t* const top = payload + event.payload_offset;
      bits.insert(bits.end(), reinterpret_cast<const uint32_t*>(top),
                  reinterpret_cast<const uint32_t*>(top + event.payload_bytes));
    }
  }
  return bits;
}

Bits generate(const TinyModel& tiny, std::unique_ptr<TestDevice> device) {
  Engine engine = engine_of(open_model(tiny, std::move(device)));
  engine.start();
  return generate(engine);
}

TEST("A model over late copies computes the same bits") {
  for (const uint32_t load_format : {HEARTH_LOAD_AUTO, HEARTH_LOAD_DUMMY}) {
    TinyModel tiny;
    tiny.options.load_format = load_format;
    const Bits expected = generate(tiny, nullptr);
    CHECK(expected.size() > 200);
    for (uint64_t seed = 0; seed < 24; ++seed) {
      tiny.options.num_threads = std::array{1, 2, 3, 8}[seed % 4];
      DeviceFaults faults;
      const Bits bits = generate(tiny, std::make_unique<TestDevice>(seed, faults));
      faults.check();
      if (bits != expected) fail(__FILE__, __LINE__, format("other bits with seed %d", int(seed)));
    }
  }
}

TEST("A copy that fails while loading ends hearth_engine_open in manual mode") {
  TinyModel tiny;
  tiny.options.num_threads = 3;
  uint64_t n = 1;
  for (bool has_failed = true; has_failed; ++n) {
    DeviceFaults faults;
    auto device = std::make_unique<TestDevice>(n, faults);
    device->fail_copy(n);
    try {
      generate(tiny, std::move(device));
      has_failed = false;
    } catch (const Error& error) {
      CHECK_EQUAL(error.status(), int32_t(HEARTH_INTERNAL));
      CHECK_EQUAL(std::string(error.what()), std::string(TestDevice::kFailure));
    }
    faults.check();
  }
  CHECK(n > 20);  // each copy failed once: pieces, vectors, the table of pages
}

/// Polls until the engine has said how loading went; the text of FAILED, "" for READY.
std::string wait_until_loaded(Engine& engine) {
  for (;;) {
    hearth_event event;
    alignas(8) uint8_t payload[4096];
    const int32_t count =
        engine.poll(&event, 1, payload, sizeof(payload), std::chrono::milliseconds(20000));
    CHECK_EQUAL(count, 1);
    if (event.kind == HEARTH_EVENT_READY) return "";
    if (event.kind == HEARTH_EVENT_FAILED) {
      return {reinterpret_cast<const char*>(payload) + event.payload_offset, event.payload_bytes};
    }
  }
}

TEST("A copy that fails while loading makes the engine FAILED") {
  TinyModel tiny;
  tiny.options.manual = 0;
  tiny.options.num_threads = 4;
  for (uint64_t n = 1; n < 30; n += 4) {
    DeviceFaults faults;
    {
      auto device = std::make_unique<TestDevice>(n, faults);
      device->fail_copy(n);
      Engine engine = engine_of(open_model(tiny, std::move(device)));
      engine.start();
      CHECK_EQUAL(wait_until_loaded(engine), std::string(TestDevice::kFailure));
      CHECK_EQUAL(engine.stats().state, uint32_t(HEARTH_STATE_FAILED));
      CHECK_ERROR(HEARTH_NOT_READY, TestDevice::kFailure, generate(engine));
    }
    faults.check();
  }
}

TEST("An engine that is stopped while copies are under way closes") {
  TinyModel tiny;
  tiny.options.manual = 0;
  tiny.options.num_threads = 3;
  for (uint64_t seed = 1; seed < 24; seed += 2) {
    DeviceFaults faults;
    {
      auto device = std::make_unique<TestDevice>(seed, faults);
      std::atomic<bool> is_copying{false}, was_stopped{false};
      device->on_copy = [&](uint64_t number) {
        if (number != seed) return;
        is_copying = true;
        is_copying.notify_one();
        was_stopped.wait(false);
      };
      Engine engine = engine_of(open_model(tiny, std::move(device)));
      engine.start();
      is_copying.wait(false);
      engine.stop(false);
      was_stopped = true;
      was_stopped.notify_one();
      hearth_event event;
      alignas(8) uint8_t payload[4096];
      CHECK_EQUAL(engine.poll(&event, 1, payload, sizeof(payload), std::chrono::seconds(20)),
                  int32_t(HEARTH_CLOSED));
    }
    faults.check();
  }
}

TEST("A weights file that becomes shorter while copies are under way ends hearth_engine_open") {
  for (uint64_t seed = 1; seed < 16; seed += 3) {
    TinyModel tiny;
    tiny.options.num_threads = 3;
    DeviceFaults faults;
    auto device = std::make_unique<TestDevice>(seed, faults);
    device->on_copy = [&](uint64_t number) {
      if (number == seed) std::filesystem::resize_file(tiny.path, 64);
    };
    CHECK_ERROR(HEARTH_IO_ERROR, "it has become shorter", generate(tiny, std::move(device)));
    faults.check();
  }
}

}  // namespace
}  // namespace hearth::test
