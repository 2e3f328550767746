// A model in an engine over a device whose copies are late: the bits that it computes, and what
// becomes of the engine where loading fails or is cut short.
#include <array>
#include <bit>
#include <filesystem>

#include "check.h"
#include "engine/engine_loop.h"
#include "engine/native_model.h"
#include "test_device.h"
#include "tiny_model.h"

namespace hearth::test {
namespace {

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
