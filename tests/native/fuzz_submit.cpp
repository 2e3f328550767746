// libFuzzer: hearth_submit with any options and flat buffer, on an engine that then runs it.
// Whatever comes in, every request ends and the books stay right.
//
// Input: hearth_request_options, one byte: number of tokens, the tokens, and the rest as flat
// buffer.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tiny_model.h"

using hearth::test::no_error;
using hearth::test::TinyModel;

namespace {

void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

hearth_engine* open_engine() {
  static const TinyModel model;
  hearth_engine* engine = nullptr;
  std::string error;
  expect(model.open(&engine, error) == HEARTH_OK, error.c_str());
  return engine;
}

void drain(hearth_engine* engine) {
  alignas(8) uint8_t payload[4096];
  hearth_event events[64];
  uint32_t num_tokens = 1;
  hearth_error error = no_error();
  while (num_tokens > 0) {
    expect(hearth_step(engine, &num_tokens, &error) == HEARTH_OK, error.message);
    expect(hearth_check_integrity(engine, &error) == HEARTH_OK, error.message);
    while (hearth_poll(engine, events, sizeof(events[0]), 64, payload, sizeof(payload), 0) > 0) {
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static hearth_engine* const engine = open_engine();
  hearth_request_options options = hearth::test::greedy_options(4);
  const size_t header = std::min(size, sizeof(options));
  std::memcpy(&options, data, header);
  data += header;
  size -= header;
  uint32_t tokens[256] = {};
  const size_t num_tokens = size > 0 ? data[0] : 1;
  for (size_t i = 0; i < num_tokens; ++i) tokens[i] = i + 1 < size ? data[i + 1] : uint32_t(i) % 40;
  const size_t used = std::min(size, num_tokens + 1);
  // The caller promises that the struct is as large as it says. Most inputs shall get past it.
  if (size % 2 == 0 || options.size > sizeof(options)) options.size = sizeof(options);
  options.flat_bytes = uint32_t(size - used);
  options.max_tokens %= 512;

  uint64_t request = 0;
  hearth_error error = no_error();
  const hearth_status status =
      hearth_submit(engine, tokens, uint32_t(num_tokens), &options, data + used, &request, &error);
  expect((status == HEARTH_OK) == (request != 0), "an id comes with HEARTH_OK");
  expect((status == HEARTH_OK) == (error.message[0] == '\0'), "a message comes with an error");
  drain(engine);
  hearth_engine_stats stats;
  stats.size = sizeof(stats);
  expect(hearth_stats(engine, &stats) == HEARTH_OK, "stats");
  expect(stats.kv_blocks_held == 0, "no block is held afterwards");
  expect(stats.num_requests_running + stats.num_requests_waiting == 0, "nothing is left");
  return 0;
}
