// hearth.h, function by function: checks what a caller can get wrong, lets nothing be thrown
// across.
#include <algorithm>
#include <exception>

#include "abi_border.h"
#include "engine/engine_loop.h"
#include "error.h"
#include "hearth.h"
#include "open/devices.h"
#include "open/native_model.h"

#ifndef HEARTH_BUILD_COMMIT
#define HEARTH_BUILD_COMMIT "unknown"
#endif

using namespace hearth;

static_assert(sizeof(hearth_device) == 152);
static_assert(sizeof(hearth_model_spec) == 112);
static_assert(sizeof(hearth_tensor) == 64);
static_assert(sizeof(hearth_file) == 16);
static_assert(sizeof(hearth_engine_options) == 112);
static_assert(sizeof(hearth_request_options) == 120);
static_assert(sizeof(hearth_event) == 56);
static_assert(sizeof(hearth_engine_stats) == 280);

struct hearth_engine {
  explicit hearth_engine(std::unique_ptr<NativeModel> loaded)
      : model(loaded.get()), engine(model->config(), std::move(loaded)) {}

  NativeModel* model;  // the engine's
  Engine engine;
};

namespace {

constexpr uint32_t kMinPayload = 4096;
static_assert(kMaxErrorText <= kMinPayload);

void require(bool holds, const char* message) {
  if (!holds) throw Error(HEARTH_INVALID_ARGUMENT, message);
}

template <class Struct>
void require_size(const Struct* value, const char* name) {
  if (value == nullptr) throw Error(HEARTH_INVALID_ARGUMENT, format("%s must not be NULL", name));
  if (value->size != sizeof(Struct)) {
    throw Error(HEARTH_INVALID_ARGUMENT, format("%s.size must be %zu: current value is %u", name,
                                                sizeof(Struct), value->size));
  }
}

Engine& engine_of(hearth_engine* handle) {
  require(handle != nullptr, "engine must not be NULL");
  return handle->engine;
}

void require_manual(const hearth_engine& handle) {
  if (handle.model->config().manual) return;
  throw Error(HEARTH_UNSUPPORTED, "Cannot step: manual must be 1: current value is 0");
}

}  // namespace

extern "C" {

uint32_t hearth_abi_version(void) { return HEARTH_ABI_VERSION; }

int32_t hearth_build_info(char* text, uint32_t capacity) {
  int32_t length = 0;
  const hearth_status status = guarded(nullptr, 0, [&] {
    length = write_text(format("hearth abi %d, numerics %d, commit %s, compiler %s, cpu generic"
#if defined(__x86_64__)
                               " avx2 avx512 amx"
#endif
                               "%s%s",
                               HEARTH_ABI_VERSION, HEARTH_NUMERICS, HEARTH_BUILD_COMMIT,
                               __VERSION__, built_with_cuda() ? ", cuda " : "",
                               cuda_architectures()),
                        text, capacity);
  });
  return status == HEARTH_OK ? length : status;
}

int32_t hearth_devices(hearth_device* devices, uint32_t capacity) {
  int32_t count = 0;
  const hearth_status status = guarded(nullptr, 0, [&] {
    require(devices != nullptr || capacity == 0, "devices must not be NULL");
    const std::vector<hearth_device> found = list_devices();
    std::copy_n(found.begin(), std::min<size_t>(found.size(), capacity), devices);
    count = int32_t(found.size());
  });
  return status == HEARTH_OK ? count : status;
}

hearth_status hearth_engine_open(const hearth_engine_options* options,
                                 const hearth_model_spec* spec, const hearth_tensor* tensors,
                                 const hearth_file* files, const uint8_t* flat,
                                 hearth_engine** engine, char* error, uint32_t error_capacity) {
  return guarded(error, error_capacity, [&] {
    require_size(options, "options");
    require_size(spec, "spec");
    require(tensors != nullptr || options->num_tensors == 0, "tensors must not be NULL");
    require(files != nullptr || options->num_files == 0, "files must not be NULL");
    require(flat != nullptr || options->flat_bytes == 0, "flat must not be NULL");
    require(engine != nullptr, "engine must not be NULL");
    auto model = std::make_unique<NativeModel>(ModelSource{*options, *spec, tensors, files, flat});
    auto handle = std::make_unique<hearth_engine>(std::move(model));
    handle->engine.start();
    *engine = handle.release();
  });
}

void hearth_engine_stop(hearth_engine* engine, uint32_t drain) {
  guarded(nullptr, 0, [&] { engine_of(engine).stop(drain != 0); });
}

void hearth_engine_close(hearth_engine* engine) { delete engine; }

int32_t hearth_engine_describe(hearth_engine* engine, char* text, uint32_t capacity) {
  int32_t length = 0;
  const hearth_status status = guarded(nullptr, 0, [&] {
    engine_of(engine);
    length = write_text(engine->model->describe(), text, capacity);
  });
  return status == HEARTH_OK ? length : status;
}

hearth_status hearth_submit(hearth_engine* engine, const uint32_t* tokens, uint32_t num_tokens,
                            const hearth_request_options* options, const uint8_t* flat,
                            uint64_t* request, char* error, uint32_t error_capacity) {
  return guarded(error, error_capacity, [&] {
    Engine& target = engine_of(engine);
    require_size(options, "options");
    require(tokens != nullptr || num_tokens == 0, "tokens must not be NULL");
    require(flat != nullptr || options->flat_bytes == 0, "flat must not be NULL");
    require(request != nullptr, "request must not be NULL");
    *request = target.submit(tokens, num_tokens, *options, flat);
  });
}

hearth_status hearth_cancel(hearth_engine* engine, uint64_t request, int32_t sequence,
                            uint32_t reason, uint32_t keep_tokens) {
  hearth_status result = HEARTH_OK;
  const hearth_status status = guarded(nullptr, 0, [&] {
    Engine& target = engine_of(engine);
    require(reason <= HEARTH_CANCEL_STOP, "reason must be CLIENT or STOP");
    result = target.cancel(request, sequence, reason, keep_tokens);
  });
  return status == HEARTH_OK ? result : status;
}

int32_t hearth_poll(hearth_engine* engine, hearth_event* events, uint32_t capacity,
                    uint8_t* payload, uint32_t payload_capacity, uint32_t timeout_ms) {
  int32_t count = 0;
  const hearth_status status = guarded(nullptr, 0, [&] {
    Engine& target = engine_of(engine);
    require(events != nullptr && capacity > 0, "events must have room for one event");
    require(payload != nullptr && payload_capacity >= kMinPayload,
            "payload must have room for 4096 bytes");
    count = target.poll(events, capacity, payload, payload_capacity,
                        std::chrono::milliseconds(timeout_ms));
  });
  return status == HEARTH_OK ? count : status;
}

hearth_status hearth_step(hearth_engine* engine, uint32_t* num_tokens, char* error,
                          uint32_t error_capacity) {
  return guarded(error, error_capacity, [&] {
    Engine& target = engine_of(engine);
    require(num_tokens != nullptr, "num_tokens must not be NULL");
    require_manual(*engine);
    *num_tokens = uint32_t(target.step());
  });
}

hearth_status hearth_check_integrity(hearth_engine* engine, char* error, uint32_t error_capacity) {
  return guarded(error, error_capacity, [&] {
    Engine& target = engine_of(engine);
    require_manual(*engine);
    target.check_integrity();
  });
}

hearth_status hearth_stats(hearth_engine* engine, hearth_engine_stats* stats) {
  return guarded(nullptr, 0, [&] {
    Engine& target = engine_of(engine);
    require(stats != nullptr, "stats must not be NULL");
    *stats = target.stats();
  });
}

}  // extern "C"
