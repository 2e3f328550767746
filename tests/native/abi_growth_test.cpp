// Callers and a library of different age: structs that are smaller or larger than today's, groups
// of options, and errors as data.
#include <algorithm>
#include <cstddef>
#include <cstring>

#include "check.h"
#include "open/option_groups.h"
#include "sized_struct.h"
#include "tiny_model.h"

namespace hearth::test {
namespace {

constexpr hearth_status kInvalid = HEARTH_INVALID_ARGUMENT;
constexpr uint8_t kCanary = 0xc5;

/// Memory of a caller whose struct has `size` bytes, with canaries behind.
struct CallersStruct {
  explicit CallersStruct(uint32_t size, uint32_t count = 1) : bytes(size * count + 64, kCanary) {
    std::memcpy(bytes.data(), &size, sizeof(size));
  }
  template <class Struct>
  Struct* as() {
    return reinterpret_cast<Struct*>(bytes.data());
  }
  uint32_t u32(size_t offset) const {
    uint32_t value;
    std::memcpy(&value, bytes.data() + offset, sizeof(value));
    return value;
  }
  bool is_untouched_from(size_t offset) const {
    for (size_t i = offset; i < bytes.size(); ++i) {
      if (bytes[i] != kCanary) return false;
    }
    return true;
  }

  std::vector<uint8_t> bytes;
};

hearth_engine* open(const TinyModel& model) {
  hearth_engine* engine = nullptr;
  std::string error;
  if (model.open(&engine, error) != HEARTH_OK) fail(__FILE__, __LINE__, error);
  return engine;
}

TEST("hearth_stats writes as many bytes as the caller's struct has") {
  hearth_engine* engine = open(TinyModel());
  for (const uint32_t size : {4u, 8u, 48u, uint32_t(sizeof(hearth_engine_stats)), 512u}) {
    CallersStruct stats(size);
    CHECK_EQUAL(hearth_stats(engine, stats.as<hearth_engine_stats>()), HEARTH_OK);
    const uint32_t written = std::min<uint32_t>(size, sizeof(hearth_engine_stats));
    CHECK_EQUAL(stats.u32(0), written);
    CHECK(stats.is_untouched_from(written));
    if (size > 4) CHECK_EQUAL(stats.u32(4), uint32_t(HEARTH_STATE_READY));
    if (size > 44) CHECK_EQUAL(stats.u32(offsetof(hearth_engine_stats, kv_blocks_held)), 0u);
  }
  hearth_engine_close(engine);
}

TEST("hearth_poll and hearth_devices write arrays in the caller's stride") {
  for (const uint32_t size : {16u, uint32_t(sizeof(hearth_event)), 100u}) {
    hearth_engine* engine = open(TinyModel());
    const uint32_t prompt[] = {1, 2, 3};
    const hearth_request_options options = greedy_options(2);
    uint64_t request = 0;
    uint32_t num_tokens = 1;
    CHECK_EQUAL(hearth_submit(engine, prompt, 3, &options, nullptr, &request, nullptr), HEARTH_OK);
    while (num_tokens > 0) CHECK_EQUAL(hearth_step(engine, &num_tokens, nullptr), HEARTH_OK);

    constexpr int32_t kEvents = 5;  // READY, START, two tokens, FINISH
    CallersStruct events(size, kEvents);
    uint8_t payload[HEARTH_MIN_PAYLOAD_BYTES];
    CHECK_EQUAL(
        hearth_poll(engine, events.as<hearth_event>(), size, 64, payload, sizeof(payload), 0),
        kEvents);
    const uint32_t written = std::min<uint32_t>(size, sizeof(hearth_event));
    const uint32_t kinds[] = {HEARTH_EVENT_READY, HEARTH_EVENT_START, HEARTH_EVENT_TOKEN,
                              HEARTH_EVENT_TOKEN, HEARTH_EVENT_FINISH};
    for (uint32_t i = 0; i < kEvents; ++i) {
      CHECK_EQUAL(events.u32(i * size), written);
      CHECK_EQUAL(events.u32(i * size + offsetof(hearth_event, kind)), kinds[i]);
      for (uint32_t at = written; at < size; ++at)
        CHECK_EQUAL(events.bytes[i * size + at], kCanary);
    }
    CHECK(events.is_untouched_from(size * kEvents));
    hearth_engine_close(engine);
  }
  for (const uint32_t size : {24u, uint32_t(sizeof(hearth_device)), 200u}) {
    CallersStruct device(size);
    CHECK(hearth_devices(device.as<hearth_device>(), size, 1) >= 1);
    const uint32_t written = std::min<uint32_t>(size, sizeof(hearth_device));
    CHECK_EQUAL(device.u32(0), written);
    CHECK_EQUAL(device.u32(offsetof(hearth_device, kind)), uint32_t(HEARTH_DEVICE_CPU));
    CHECK(device.is_untouched_from(written));
  }
  hearth_device device;
  CHECK_EQUAL(hearth_devices(&device, 3, 1), int32_t(kInvalid));
}

TEST("hearth_error is filled as far as its caller knows it, on failure alone") {
  hearth_engine* engine = open(TinyModel());
  uint32_t num_tokens = 0;
  for (const uint32_t size : {uint32_t(sizeof(hearth_error)), 3000u}) {
    CallersStruct error(size);
    CHECK_EQUAL(hearth_step(engine, &num_tokens, error.as<hearth_error>()), HEARTH_OK);
    CHECK(error.is_untouched_from(4));
    CHECK_EQUAL(hearth_step(engine, nullptr, error.as<hearth_error>()), int32_t(kInvalid));
    CHECK_EQUAL(error.as<hearth_error>()->size, sizeof(hearth_error));
    CHECK_EQUAL(std::string(error.as<hearth_error>()->field), std::string("num_tokens"));
    CHECK(error.is_untouched_from(sizeof(hearth_error)));
  }
  // Not the library's to write to; and the call does nothing.
  for (const uint32_t size : {0u, 2047u, 4097u}) {
    CallersStruct error(size);
    num_tokens = 77;
    CHECK_EQUAL(hearth_step(engine, &num_tokens, error.as<hearth_error>()), int32_t(kInvalid));
    CHECK(error.is_untouched_from(4));
    CHECK_EQUAL(num_tokens, 77u);
  }
  hearth_engine_close(engine);
}

TEST("An error's parts make its sentence") {
  hearth_error out =
      to_abi(Error(kInvalid, "Cannot open engine", "max_num_seqs", "be 0 to 65536", "70000"));
  CHECK_EQUAL(out.status, kInvalid);
  CHECK_EQUAL(std::string(out.field), std::string("max_num_seqs"));
  CHECK_EQUAL(std::string(out.rule), std::string("be 0 to 65536"));
  CHECK_EQUAL(std::string(out.value), std::string("70000"));
  CHECK_EQUAL(
      std::string(out.message),
      std::string("Cannot open engine: max_num_seqs must be 0 to 65536: current value is 70000"));
  out = to_abi(Error(kInvalid, "Cannot step", "num_tokens", "not be NULL", ""));
  CHECK_EQUAL(std::string(out.message), std::string("Cannot step: num_tokens must not be NULL"));
  out = to_abi(Error(HEARTH_IO_ERROR, "Cannot read x"));
  CHECK_EQUAL(out.status, int32_t(HEARTH_IO_ERROR));
  CHECK_EQUAL(std::string(out.message), std::string("Cannot read x"));
  CHECK_EQUAL(std::string(out.field) + out.rule + out.value, std::string());
  // Too long: cut between two characters, with its NUL.
  std::string euros;
  while (euros.size() < 3000) euros += "\u20ac";
  out = to_abi(Error(kInvalid, "Cannot open model", euros, euros, euros));
  CHECK_EQUAL(std::strlen(out.field), 63u);
  CHECK_EQUAL(std::strlen(out.rule), 255u);
  CHECK_EQUAL(std::strlen(out.value), 189u);
  CHECK_EQUAL(std::strlen(out.message), 1525u);
}

TEST("cut_length never cuts a character in two") {
  const std::string text = "a\u00e9\u20ac";
  CHECK_EQUAL(cut_length(text, 0), 0u);
  CHECK_EQUAL(cut_length(text, 2), 1u);
  CHECK_EQUAL(cut_length(text, 5), 3u);
  CHECK_EQUAL(cut_length(text, 6), 6u);
  CHECK_EQUAL(cut_length(text, 100), 6u);
}

/// An in struct that has grown: its first version ended behind `first`.
struct Grown {
  uint32_t size;
  uint32_t first;
  uint32_t second;
};

TEST("read_struct takes older structs, and newer ones that ask nothing new") {
  const auto read = [](std::vector<uint32_t> words) {
    return read_struct<Grown>("Cannot test", "grown", words.data(), 8);
  };
  Grown grown = read({8, 5});
  CHECK_EQUAL(grown.size, sizeof(Grown));
  CHECK_EQUAL(grown.first, 5u);
  CHECK_EQUAL(grown.second, 0u);
  grown = read({12, 5, 6});
  CHECK_EQUAL(grown.second, 6u);
  grown = read({20, 5, 6, 0, 0});
  CHECK_EQUAL(grown.size, sizeof(Grown));
  CHECK_EQUAL(grown.second, 6u);
  CHECK_ERROR(kInvalid,
              "Cannot test: grown must be 0 behind byte 12, where this library's struct ends: "
              "current value is 1 at byte 17",
              read({20, 5, 6, 0, 0x100}));
  CHECK_ERROR(kInvalid, "grown.size must be 8 to 4096: current value is 4", read({4, 5}));
  CHECK_ERROR(kInvalid, "grown.size must be 8 to 4096: current value is 4097", read({4097}));
}

/// Today's structs with room behind, as a later header would have them.
template <class Struct>
struct Newer {
  Struct today;
  uint8_t later[16] = {};

  explicit Newer(const Struct& value) : today(value) { today.size = sizeof(*this); }
};

hearth_status open_with(const TinyModel& model, const hearth_engine_options& options,
                        const hearth_model_spec& spec, const hearth_tensor* tensors,
                        const hearth_file* files, hearth_error& error) {
  hearth_engine* engine = nullptr;
  const hearth_status status =
      hearth_engine_open(&options, &spec, tensors, files, model.flat.data(), &engine, &error);
  CHECK_EQUAL(status == HEARTH_OK, engine != nullptr);
  hearth_engine_close(engine);
  return status;
}

hearth_engine_options sized_options(const TinyModel& model) {
  hearth_engine_options options = model.options;
  options.flat_bytes = uint32_t(model.flat.size());
  options.num_tensors = uint32_t(model.tensors.size());
  options.num_files = uint32_t(model.files.size());
  return options;
}

TEST("hearth_engine_open takes options of the first version") {
  const TinyModel model;
  hearth_engine_options options = sized_options(model);
  options.size = 112;
  // Behind its end, where this library has groups: not the struct's, and not to be read.
  options.groups_offset = 1;
  options.groups_count = 99;
  hearth_error error = no_error();
  const hearth_status status =
      open_with(model, options, model.spec, model.tensors.data(), model.files.data(), error);
  if (status != HEARTH_OK) fail(__FILE__, __LINE__, error.message);
}

TEST("hearth_engine_open and hearth_submit take a newer caller's structs") {
  const TinyModel model;
  const Newer options(sized_options(model));
  const Newer spec(model.spec);
  std::vector<Newer<hearth_tensor>> tensors(model.tensors.begin(), model.tensors.end());
  std::vector<Newer<hearth_file>> files(model.files.begin(), model.files.end());
  hearth_error error = no_error();
  const auto open = [&] {
    error = no_error();
    return open_with(model, options.today, spec.today, &tensors.data()->today, &files.data()->today,
                     error);
  };
  if (open() != HEARTH_OK) fail(__FILE__, __LINE__, error.message);

  tensors[2].later[7] = 9;
  CHECK_EQUAL(open(), kInvalid);
  CHECK_EQUAL(std::string(error.field), std::string("tensors[2]"));
  CHECK_EQUAL(std::string(error.value), std::string("9 at byte 71"));
  tensors[2].later[7] = 0;
  tensors[2].today.size = sizeof(hearth_tensor);
  CHECK_EQUAL(open(), kInvalid);
  CHECK_EQUAL(std::string(error.message),
              std::string("Cannot open engine: tensors[2].size must be 80, that of tensors[0]: "
                          "current value is 64"));

  hearth_engine* engine = nullptr;
  std::string message;
  CHECK_EQUAL(model.open(&engine, message), HEARTH_OK);
  const uint32_t token = 1;
  uint64_t request = 0;
  Newer request_options(greedy_options(1));
  CHECK_EQUAL(hearth_submit(engine, &token, 1, &request_options.today, nullptr, &request, nullptr),
              HEARTH_OK);
  request_options.later[0] = 1;
  CHECK_EQUAL(hearth_submit(engine, &token, 1, &request_options.today, nullptr, &request, &error),
              kInvalid);
  CHECK_EQUAL(std::string(error.field), std::string("options"));
  hearth_engine_close(engine);
}

/// A flat buffer with a table of groups and the groups.
struct Groups {
  hearth_engine_options options{};
  std::vector<uint8_t> flat;

  explicit Groups(const std::vector<hearth_option_group>& table) {
    flat.resize(256);
    options.groups_count = uint32_t(table.size());
    options.groups_offset = 16;
    std::copy_n(reinterpret_cast<const uint8_t*>(table.data()), table.size() * sizeof(table[0]),
                flat.data() + 16);
    options.flat_bytes = uint32_t(flat.size());
  }
  Groups& put(uint32_t offset, uint32_t value) {
    std::memcpy(flat.data() + offset, &value, sizeof(value));
    return *this;
  }
  void check() const { check_option_groups(options, flat.data()); }
};

TEST("check_option_groups takes groups that ask for nothing, and names what it does not know") {
  Groups({}).check();
  Groups({{HEARTH_OPTIONS_MEMORY, 64, 4}, {HEARTH_OPTIONS_KV, 80, 16}})
      .put(64, 4)
      .put(80, 16)
      .check();
  const auto refuses = [](hearth_status status, const char* text, Groups groups) {
    CHECK_ERROR(status, text, groups.check());
  };
  refuses(HEARTH_UNSUPPORTED,
          "Cannot open engine: groups[1].id must be MEMORY (1), KV (2) or SPECULATION (3): current "
          "value is 4",
          Groups({{HEARTH_OPTIONS_KV, 64, 4}, {4, 64, 4}}).put(64, 4));
  refuses(HEARTH_UNSUPPORTED, "groups[0].id", Groups({{0, 64, 4}}).put(64, 4));
  refuses(kInvalid,
          "group speculation must be 0 behind byte 4, where this library's struct ends: current "
          "value is 1 at byte 12",
          Groups({{HEARTH_OPTIONS_SPECULATION, 64, 16}}).put(64, 16).put(76, 1));
  refuses(kInvalid, "group kv must appear once",
          Groups({{HEARTH_OPTIONS_KV, 64, 4}, {HEARTH_OPTIONS_KV, 64, 4}}).put(64, 4));
  refuses(kInvalid, "group kv must lie at a multiple of 8: current value is 4 bytes at 68",
          Groups({{HEARTH_OPTIONS_KV, 68, 4}}).put(68, 4));
  refuses(kInvalid, "group kv must lie in the flat buffer of 256 bytes",
          Groups({{HEARTH_OPTIONS_KV, 256, 4}}));
  refuses(kInvalid, "group kv must lie in the flat buffer",
          Groups({{HEARTH_OPTIONS_KV, 0xfffffff8, 0xfffffff8}}));
  refuses(kInvalid, "group kv must have at least 4 bytes: current value is 3",
          Groups({{HEARTH_OPTIONS_KV, 64, 3}}));
  refuses(kInvalid, "group kv.size must be 8, as the table says: current value is 4",
          Groups({{HEARTH_OPTIONS_KV, 64, 8}}).put(64, 4));
  Groups table({{HEARTH_OPTIONS_KV, 64, 4}});
  table.options.groups_count = 0x40000000;  // times 12 wraps in 32 bits
  refuses(kInvalid, "groups must lie in the flat buffer of 256 bytes", table);
  table.options.groups_count = 1;
  table.options.groups_offset = 18;
  refuses(kInvalid, "groups must lie at a multiple of 4", table);
}

TEST("hearth_engine_open checks its groups of options") {
  TinyModel model;
  model.options.groups_offset = uint32_t((model.flat.size() + 7) / 8 * 8);
  model.options.groups_count = 1;
  const hearth_option_group group{9, 0, 4};
  model.flat.resize(model.options.groups_offset + sizeof(group));
  std::memcpy(model.flat.data() + model.options.groups_offset, &group, sizeof(group));
  hearth_error error = no_error();
  CHECK_EQUAL(open_with(model, sized_options(model), model.spec, model.tensors.data(),
                        model.files.data(), error),
              int32_t(HEARTH_UNSUPPORTED));
  CHECK_EQUAL(std::string(error.field), std::string("groups[0].id"));
}

}  // namespace
}  // namespace hearth::test
