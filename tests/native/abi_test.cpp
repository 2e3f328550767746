// hearth.h as a C caller sees it, over a real model of a few thousand weights.
#include <cstring>
#include <thread>

#include "check.h"
#include "tiny_model.h"

namespace hearth::test {
namespace {

/// An open engine; fails the test when it cannot be opened.
struct Handle {
  explicit Handle(const TinyModel& model) {
    std::string error;
    if (model.open(&engine, error) != HEARTH_OK) fail(__FILE__, __LINE__, error);
  }
  ~Handle() { hearth_engine_close(engine); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  std::vector<hearth_event> poll(uint32_t timeout_ms = 0) {
    std::vector<hearth_event> events(64);
    const int32_t count = hearth_poll(engine, events.data(), sizeof(events[0]), 64, payload,
                                      sizeof(payload), timeout_ms);
    closed = count == HEARTH_CLOSED;
    events.resize(size_t(count > 0 ? count : 0));
    return events;
  }
  std::vector<uint32_t> generate(const std::vector<uint32_t>& prompt, uint32_t max_tokens) {
    const hearth_request_options options = greedy_options(max_tokens);
    uint64_t request = 0;
    CHECK_EQUAL(hearth_submit(engine, prompt.data(), uint32_t(prompt.size()), &options, nullptr,
                              &request, nullptr),
                HEARTH_OK);
    uint32_t num_tokens = 1;
    std::vector<uint32_t> output;
    while (num_tokens > 0) {
      CHECK_EQUAL(hearth_step(engine, &num_tokens, nullptr), HEARTH_OK);
      CHECK_EQUAL(hearth_check_integrity(engine, nullptr), HEARTH_OK);
      for (const hearth_event& event : poll()) {
        if (event.kind == HEARTH_EVENT_TOKEN) output.push_back(event.token);
      }
    }
    return output;
  }
  hearth_engine_stats stats() const {
    hearth_engine_stats stats{};
    stats.size = sizeof(stats);
    CHECK_EQUAL(hearth_stats(engine, &stats), HEARTH_OK);
    return stats;
  }

  hearth_engine* engine = nullptr;
  alignas(8) uint8_t payload[4096];
  bool closed = false;
};

std::vector<uint32_t> some_prompt(uint32_t length) {
  std::vector<uint32_t> prompt;
  for (uint32_t i = 0; i < length; ++i) prompt.push_back((i * i + 3) % TinyModel::kVocab);
  return prompt;
}

TEST("hearth_* says what the library is") {
  CHECK_EQUAL(hearth_abi_version(), uint32_t(HEARTH_ABI_VERSION));
  char text[8] = "xxxxxxx";
  const int32_t length = hearth_build_info(text, 4);
  CHECK(length > 20);
  CHECK_EQUAL(std::string(text), std::string("hea"));
  CHECK_EQUAL(hearth_build_info(nullptr, 0), length);
  hearth_device device;
  const int32_t num_devices = hearth_devices(nullptr, sizeof(device), 0);
  CHECK(num_devices >= 1);
  CHECK_EQUAL(hearth_devices(nullptr, sizeof(device), 1), int32_t(HEARTH_INVALID_ARGUMENT));
  CHECK_EQUAL(hearth_devices(&device, sizeof(device), 1), num_devices);
  CHECK_EQUAL(device.size, sizeof(device));
  CHECK_EQUAL(device.kind, uint32_t(HEARTH_DEVICE_CPU));
  CHECK(device.num_cores >= 1 && device.free_bytes > 0);
}

TEST("Dummy weights are made without a file, the same ones each time") {
  TinyModel model;
  model.options.load_format = HEARTH_LOAD_DUMMY;
  std::memset(model.flat.data() + model.files[0].path_offset, 'x', model.files[0].path_bytes);
  for (hearth_tensor& tensor : model.tensors) tensor.file_offset = 0;
  Handle first(model), second(model);
  const hearth_engine_stats stats = first.stats();
  CHECK_EQUAL(stats.bytes_loaded, stats.bytes_total);
  CHECK(stats.bytes_total > 0);
  const std::vector<uint32_t> tokens = first.generate(some_prompt(9), 12);
  CHECK_EQUAL(tokens.size(), 12u);
  CHECK(tokens == second.generate(some_prompt(9), 12));
}

TEST("A real model gives the same tokens in any chunking, at any depth, from cache or not") {
  TinyModel model;
  std::vector<uint32_t> expected;
  for (const uint32_t budget : {64u, 8u, 17u}) {
    for (const uint32_t depth : {1u, 2u}) {
      model.options.max_num_batched_tokens = budget;
      model.options.pipeline_depth = depth;
      Handle handle(model);
      const auto output = handle.generate(some_prompt(70), 20);
      if (expected.empty()) expected = output;
      CHECK_EQUAL(output.size(), 20u);
      CHECK(output == expected);
      CHECK(handle.generate(some_prompt(70), 20) == expected);
      const hearth_engine_stats stats = handle.stats();
      CHECK_EQUAL(stats.num_prompt_tokens_cached, 64u);
      CHECK_EQUAL(stats.bytes_loaded, stats.bytes_total);
      CHECK(stats.step_bytes > 0 && stats.step_flops > 0 && stats.workspace_bytes > 0);
    }
  }
}

TEST("hearth_engine_open with a thread: READY, tokens, drain, CLOSED") {
  TinyModel model;
  model.options.manual = 0;
  Handle handle(model);
  uint32_t num_tokens = 0;
  CHECK_EQUAL(hearth_step(handle.engine, &num_tokens, nullptr), int32_t(HEARTH_UNSUPPORTED));
  CHECK_EQUAL(hearth_check_integrity(handle.engine, nullptr), int32_t(HEARTH_UNSUPPORTED));
  std::vector<hearth_event> events;
  while (events.empty()) events = handle.poll(1000);
  CHECK_EQUAL(events[0].kind, uint32_t(HEARTH_EVENT_READY));
  const auto prompt = some_prompt(20);
  const hearth_request_options options = greedy_options(10);
  uint64_t request = 0;
  CHECK_EQUAL(hearth_submit(handle.engine, prompt.data(), 20, &options, nullptr, &request, nullptr),
              HEARTH_OK);
  hearth_engine_stop(handle.engine, 1);
  hearth_error error = no_error();
  CHECK_EQUAL(hearth_submit(handle.engine, prompt.data(), 20, &options, nullptr, &request, &error),
              int32_t(HEARTH_CLOSING));
  CHECK_EQUAL(error.status, int32_t(HEARTH_CLOSING));
  CHECK(std::strstr(error.message, "closing") != nullptr);
  size_t num_events = 0;
  while (!handle.closed) num_events += handle.poll(1000).size();
  // START, 10 tokens, FINISH.
  CHECK_EQUAL(num_events, 12u);
  CHECK_EQUAL(hearth_cancel(handle.engine, request, 0, 0, 0), int32_t(HEARTH_NOT_FOUND));
}

TEST("hearth_* refuses null pointers and impossible sizes") {
  const TinyModel model;
  Handle handle(model);
  hearth_engine* engine = handle.engine;
  const uint32_t token = 1;
  uint64_t request = 0;
  uint32_t num_tokens = 0;
  hearth_event event;
  hearth_engine_stats stats{};
  stats.size = sizeof(stats);
  constexpr int32_t kInvalid = HEARTH_INVALID_ARGUMENT;
  hearth_request_options options = greedy_options(1);
  const auto refuses_submit = [&](hearth_engine* target, const uint32_t* tokens,
                                  const hearth_request_options* values, uint64_t* id,
                                  const std::string& message) {
    hearth_error error = no_error();
    CHECK_EQUAL(hearth_submit(target, tokens, 1, values, nullptr, id, &error), kInvalid);
    CHECK_EQUAL(error.status, kInvalid);
    CHECK_EQUAL(std::string(error.message), "Cannot submit request: " + message);
  };

  refuses_submit(nullptr, &token, &options, &request, "engine must not be NULL");
  refuses_submit(engine, nullptr, &options, &request, "tokens must not be NULL");
  refuses_submit(engine, &token, nullptr, &request, "options must not be NULL");
  refuses_submit(engine, &token, &options, nullptr, "request must not be NULL");
  options.flat_bytes = 4;
  refuses_submit(engine, &token, &options, &request, "flat must not be NULL");
  options = greedy_options(1);
  options.size = 119;
  refuses_submit(engine, &token, &options, &request,
                 "options.size must be 120 to 4096: current value is 119");
  CHECK_EQUAL(hearth_submit(engine, &token, 1, &options, nullptr, &request, nullptr), kInvalid);
  CHECK_EQUAL(request, 0u);

  const auto poll = [&](hearth_engine* target, hearth_event* events, uint32_t size,
                        uint32_t capacity, uint8_t* payload, uint32_t payload_capacity) {
    return hearth_poll(target, events, size, capacity, payload, payload_capacity, 0);
  };
  CHECK_EQUAL(poll(nullptr, &event, sizeof(event), 1, handle.payload, 4096), kInvalid);
  CHECK_EQUAL(poll(engine, nullptr, sizeof(event), 1, handle.payload, 4096), kInvalid);
  CHECK_EQUAL(poll(engine, &event, sizeof(event), 0, handle.payload, 4096), kInvalid);
  CHECK_EQUAL(poll(engine, &event, 0, 1, handle.payload, 4096), kInvalid);
  CHECK_EQUAL(poll(engine, &event, 4097, 1, handle.payload, 4096), kInvalid);
  CHECK_EQUAL(poll(engine, &event, sizeof(event), 1, nullptr, 4096), kInvalid);
  CHECK_EQUAL(poll(engine, &event, sizeof(event), 1, handle.payload, 4095), kInvalid);
  CHECK_EQUAL(hearth_step(nullptr, &num_tokens, nullptr), kInvalid);
  CHECK_EQUAL(hearth_step(engine, nullptr, nullptr), kInvalid);
  CHECK_EQUAL(hearth_check_integrity(nullptr, nullptr), kInvalid);
  CHECK_EQUAL(hearth_cancel(nullptr, 1, 0, 0, 0), kInvalid);
  CHECK_EQUAL(hearth_cancel(engine, 1, 0, 2, 0), kInvalid);
  CHECK_EQUAL(hearth_stats(nullptr, &stats), kInvalid);
  CHECK_EQUAL(hearth_stats(engine, nullptr), kInvalid);
  stats.size = 0;
  CHECK_EQUAL(hearth_stats(engine, &stats), kInvalid);
  CHECK_EQUAL(hearth_engine_describe(nullptr, nullptr, 0), kInvalid);
  CHECK(hearth_engine_describe(engine, nullptr, 0) > 20);
  hearth_engine_stop(nullptr, 0);
  hearth_engine_close(nullptr);
}

TEST("hearth_engine_open counts the whole workspace against memory_limit_bytes") {
  TinyModel model;
  model.options.num_kv_blocks = 8;
  const hearth_engine_stats stats = Handle(model).stats();
  const uint64_t needed = stats.weights_bytes + stats.kv_bytes + stats.workspace_bytes;
  // Of that, K and V of one layer, and each input of a linear op as fp32 and int8.
  const uint64_t scratch = stats.max_num_batched_tokens * 2ull * sizeof(float) *
                           model.spec.num_kv_heads * model.spec.head_dim;
  CHECK(stats.workspace_bytes > scratch);
  model.options.memory_limit_bytes = needed;
  { Handle handle(model); }
  model.options.memory_limit_bytes = needed - 1;
  hearth_engine* engine = nullptr;
  std::string error;
  CHECK_EQUAL(model.open(&engine, error), int32_t(HEARTH_OUT_OF_MEMORY));
  CHECK(engine == nullptr);
}

TEST("hearth_engine_open says what is wrong and gives no handle") {
  const auto refuses = [](hearth_status status, const char* text, auto&& change) {
    TinyModel model;
    change(model);
    hearth_engine* engine = nullptr;
    std::string error;
    CHECK_EQUAL(model.open(&engine, error), status);
    CHECK(engine == nullptr);
    if (error.find(text) == std::string::npos) fail(__FILE__, __LINE__, error + " lacks " + text);
  };
  constexpr hearth_status kInvalid = HEARTH_INVALID_ARGUMENT;
  refuses(kInvalid, "options.size must be 112 to 4096", [](auto& m) { m.options.size = 111; });
  refuses(kInvalid, "spec.size must be 112 to 4096", [](auto& m) { m.spec.size = 1; });
  refuses(kInvalid, "tensors[3].size must be 64, that of tensors[0]",
          [](auto& m) { m.tensors[3].size = 1; });
  refuses(kInvalid, "files[0].size must be 16 to 4096", [](auto& m) { m.files[0].size = 1; });
  refuses(kInvalid, "num_layers", [](auto& m) { m.spec.num_layers = 0; });
  refuses(kInvalid, "rope_inv_freq", [](auto& m) { m.spec.rope_inv_freq_offset = 1u << 20; });
  refuses(kInvalid, "missing", [](auto& m) { m.tensors.pop_back(); });
  refuses(kInvalid, "once", [](auto& m) { m.tensors.push_back(m.tensors.back()); });
  refuses(kInvalid, "shape",
          [](auto& m) { m.tensors[3].shape[0] = 16, m.tensors[3].shape[1] = 64; });
  refuses(kInvalid, "tensor", [](auto& m) { m.tensors[5].file_offset = 1u << 30; });
  refuses(kInvalid, "file", [](auto& m) { m.tensors[5].file = 7; });
  refuses(HEARTH_IO_ERROR, "", [](auto& m) { m.flat[m.files[0].path_offset + 1] ^= 1; });
  refuses(HEARTH_UNSUPPORTED, "Cannot open engine: no CUDA device 99: ", [](auto& m) {
    m.options.device_kind = HEARTH_DEVICE_CUDA;
    m.options.device_index = 99;
  });
  refuses(HEARTH_OUT_OF_MEMORY, "num_kv_blocks", [](auto& m) {
    m.options.num_kv_blocks = 1u << 26;
    m.options.memory_limit_bytes = 1u << 26;
  });
  refuses(kInvalid, "max_model_len", [](auto& m) { m.options.max_model_len = 129; });
  hearth_engine* engine = nullptr;
  CHECK_EQUAL(hearth_engine_open(nullptr, nullptr, nullptr, nullptr, nullptr, &engine, nullptr),
              kInvalid);
}

}  // namespace
}  // namespace hearth::test
