// hearth.h, function by function: checks what a caller can get wrong, lets nothing be thrown
// across.
#include <algorithm>
#include <cstring>

#include "abi_border.h"
#include "engine/engine_loop.h"
#include "error.h"
#include "hearth.h"
#include "open/devices.h"
#include "open/native_model.h"
#include "open/option_groups.h"
#include "sized_struct.h"

#ifndef HEARTH_BUILD_COMMIT
#define HEARTH_BUILD_COMMIT "unknown"
#endif

using namespace hearth;

static_assert(sizeof(hearth_error) == 2048);
static_assert(sizeof(hearth_device) == 152);
static_assert(sizeof(hearth_model_spec) == 112);
static_assert(sizeof(hearth_tensor) == 64);
static_assert(sizeof(hearth_file) == 16);
static_assert(sizeof(hearth_engine_options) == 128);
static_assert(sizeof(hearth_request_options) == 136);
static_assert(sizeof(hearth_event) == 64);
static_assert(sizeof(hearth_engine_stats) == 280);

struct hearth_engine {
  explicit hearth_engine(std::unique_ptr<NativeModel> loaded)
      : model(loaded.get()), engine(model->config(), std::move(loaded)) {}

  NativeModel* model;  // the engine's
  Engine engine;
};

namespace {

// Sizes of in structs in their first version. They never change: fields that came later are 0 for
// callers who lack them.
constexpr uint32_t kFirstModelSpec = 112;
constexpr uint32_t kFirstTensor = 64;
constexpr uint32_t kFirstFile = 16;
constexpr uint32_t kFirstEngineOptions = 112;
constexpr uint32_t kFirstRequestOptions = 120;

constexpr char kOpening[] = "Cannot open engine";
constexpr char kSubmitting[] = "Cannot submit request";
constexpr char kStepping[] = "Cannot step";
constexpr char kChecking[] = "Cannot check integrity";
constexpr char kAnswering[] = "Cannot answer";  // calls that return a status alone

/// may_be_null: where nothing is to be read or written there.
void require_pointer(const char* doing, const char* field, const void* pointer,
                     bool may_be_null = false) {
  if (pointer == nullptr && !may_be_null) refuse(doing, field, "not be NULL");
}

/// An array of in structs, `count` of them, as this library knows them.
template <class Struct>
std::vector<Struct> read_structs(const std::string& name, const Struct* from, uint32_t count,
                                 uint32_t first_size) {
  std::vector<Struct> values;
  if (count == 0) return values;
  require_pointer(kOpening, name.c_str(), from);
  const uint32_t stride = from->size;
  const auto* bytes = reinterpret_cast<const uint8_t*>(from);
  for (uint32_t i = 0; i < count; ++i, bytes += stride) {
    const std::string element = format("%s[%u]", name.c_str(), i);
    // Before it is believed: what lies behind the array is not the caller's to promise.
    uint32_t size;
    std::memcpy(&size, bytes, sizeof(size));
    if (size != stride) {
      refuse(kOpening, element + ".size", format("be %u, that of %s[0]", stride, name.c_str()),
             std::to_string(size));
    }
    values.push_back(read_struct<Struct>(kOpening, element, bytes, first_size));
  }
  return values;
}

Engine& engine_of(const char* doing, hearth_engine* handle) {
  require_pointer(doing, "engine", handle);
  return handle->engine;
}

void require_manual(const char* doing, const hearth_engine& handle) {
  if (handle.model->config().manual) return;
  throw Error(HEARTH_UNSUPPORTED, doing, "manual", "be 1", "0");
}

}  // namespace

extern "C" {

uint32_t hearth_abi_version(void) { return HEARTH_ABI_VERSION; }

int32_t hearth_build_info(char* text, uint32_t capacity) {
  int32_t length = 0;
  const hearth_status status = guarded(nullptr, [&] {
    length =
        write_text(format("hearth abi %d, numerics %d, commit %s, compiler %s, cpu generic"
#if defined(__x86_64__)
                          " avx2 avx512 amx"
#endif
                          "%s%s",
                          HEARTH_ABI_VERSION, HEARTH_NUMERICS, HEARTH_BUILD_COMMIT, __VERSION__,
                          built_with_cuda() ? ", cuda " : "", cuda_architectures()),
                   text, capacity);
  });
  return status == HEARTH_OK ? length : status;
}

int32_t hearth_devices(hearth_device* devices, uint32_t device_size, uint32_t capacity) {
  int32_t count = 0;
  const hearth_status status = guarded(nullptr, [&] {
    require_pointer(kAnswering, "devices", devices, capacity == 0);
    require_out_size(kAnswering, "device_size", device_size);
    const std::vector<hearth_device> found = list_devices();
    auto* to = reinterpret_cast<uint8_t*>(devices);
    for (size_t i = 0; i < std::min<size_t>(found.size(), capacity); ++i) {
      write_struct(found[i], to + i * device_size, device_size);
    }
    count = int32_t(found.size());
  });
  return status == HEARTH_OK ? count : status;
}

hearth_status hearth_engine_open(const hearth_engine_options* options,
                                 const hearth_model_spec* spec, const hearth_tensor* tensors,
                                 const hearth_file* files, const uint8_t* flat,
                                 hearth_engine** engine, hearth_error* error) {
  return guarded(error, [&] {
    const auto own_options =
        read_struct<hearth_engine_options>(kOpening, "options", options, kFirstEngineOptions);
    const auto own_spec = read_struct<hearth_model_spec>(kOpening, "spec", spec, kFirstModelSpec);
    const auto own_tensors =
        read_structs("tensors", tensors, own_options.num_tensors, kFirstTensor);
    const auto own_files = read_structs("files", files, own_options.num_files, kFirstFile);
    require_pointer(kOpening, "flat", flat, own_options.flat_bytes == 0);
    require_pointer(kOpening, "engine", engine);
    check_option_groups(own_options, flat);
    auto model = std::make_unique<NativeModel>(
        ModelSource{own_options, own_spec, own_tensors.data(), own_files.data(), flat});
    auto handle = std::make_unique<hearth_engine>(std::move(model));
    handle->engine.start();
    *engine = handle.release();
  });
}

void hearth_engine_stop(hearth_engine* engine, uint32_t drain) {
  guarded(nullptr, [&] { engine_of(kAnswering, engine).stop(drain != 0); });
}

void hearth_engine_close(hearth_engine* engine) { delete engine; }

int32_t hearth_engine_describe(hearth_engine* engine, char* text, uint32_t capacity) {
  int32_t length = 0;
  const hearth_status status = guarded(nullptr, [&] {
    engine_of(kAnswering, engine);
    length = write_text(engine->model->describe(), text, capacity);
  });
  return status == HEARTH_OK ? length : status;
}

hearth_status hearth_submit(hearth_engine* engine, const uint32_t* tokens, uint32_t num_tokens,
                            const hearth_request_options* options, const uint8_t* flat,
                            uint64_t* request, hearth_error* error) {
  return guarded(error, [&] {
    Engine& target = engine_of(kSubmitting, engine);
    const auto own =
        read_struct<hearth_request_options>(kSubmitting, "options", options, kFirstRequestOptions);
    require_pointer(kSubmitting, "tokens", tokens, num_tokens == 0);
    require_pointer(kSubmitting, "flat", flat, own.flat_bytes == 0);
    require_pointer(kSubmitting, "request", request);
    *request = target.submit(tokens, num_tokens, own, flat);
  });
}

hearth_status hearth_cancel(hearth_engine* engine, uint64_t request, int32_t sequence,
                            uint32_t reason, uint32_t keep_tokens) {
  hearth_status result = HEARTH_OK;
  const hearth_status status = guarded(nullptr, [&] {
    Engine& target = engine_of(kAnswering, engine);
    if (reason > HEARTH_CANCEL_STOP) {
      refuse(kAnswering, "reason", "be CLIENT (0) or STOP (1)", std::to_string(reason));
    }
    result = target.cancel(request, sequence, reason, keep_tokens);
  });
  return status == HEARTH_OK ? result : status;
}

int32_t hearth_poll(hearth_engine* engine, hearth_event* events, uint32_t event_size,
                    uint32_t capacity, uint8_t* payload, uint32_t payload_capacity,
                    uint32_t timeout_ms) {
  int32_t count = 0;
  const hearth_status status = guarded(nullptr, [&] {
    Engine& target = engine_of(kAnswering, engine);
    require_pointer(kAnswering, "events", events);
    require_out_size(kAnswering, "event_size", event_size);
    if (capacity == 0) refuse(kAnswering, "capacity", "be >= 1", "0");
    require_pointer(kAnswering, "payload", payload);
    if (payload_capacity < HEARTH_MIN_PAYLOAD_BYTES) {
      refuse(kAnswering, "payload_capacity", format("be >= %d", HEARTH_MIN_PAYLOAD_BYTES),
             std::to_string(payload_capacity));
    }
    count = target.poll(events, event_size, capacity, payload, payload_capacity,
                        std::chrono::milliseconds(timeout_ms));
  });
  return status == HEARTH_OK ? count : status;
}

hearth_status hearth_step(hearth_engine* engine, uint32_t* num_tokens, hearth_error* error) {
  return guarded(error, [&] {
    Engine& target = engine_of(kStepping, engine);
    require_pointer(kStepping, "num_tokens", num_tokens);
    require_manual(kStepping, *engine);
    *num_tokens = uint32_t(target.step());
  });
}

hearth_status hearth_check_integrity(hearth_engine* engine, hearth_error* error) {
  return guarded(error, [&] {
    Engine& target = engine_of(kChecking, engine);
    require_manual(kChecking, *engine);
    target.check_integrity();
  });
}

hearth_status hearth_stats(hearth_engine* engine, hearth_engine_stats* stats) {
  return guarded(nullptr, [&] {
    Engine& target = engine_of(kAnswering, engine);
    require_pointer(kAnswering, "stats", stats);
    require_out_size(kAnswering, "stats.size", stats->size);
    write_struct(target.stats(), stats, stats->size);
  });
}

}  // extern "C"
