// libFuzzer: hearth_engine_open with a model's description that was tampered with. It either opens
// an engine that runs, or says what is wrong.
//
// Input: records of 8 bytes that each overwrite 4 bytes of the tables of a valid model:
//   u8 table (options, spec, tensors, files, flat), u8 unused, u16 word, u32 value
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

struct Tables {
  hearth_engine_options options;
  hearth_model_spec spec;
  std::vector<hearth_tensor> tensors;
  std::vector<hearth_file> files;
  std::vector<uint8_t> flat;
};

void overwrite(Tables& tables, const uint8_t* record) {
  uint8_t* bytes = nullptr;
  size_t size = 0;
  switch (record[0] % 5) {
    case 0:
      bytes = reinterpret_cast<uint8_t*>(&tables.options);
      size = sizeof(tables.options);
      break;
    case 1:
      bytes = reinterpret_cast<uint8_t*>(&tables.spec);
      size = sizeof(tables.spec);
      break;
    case 2:
      bytes = reinterpret_cast<uint8_t*>(tables.tensors.data());
      size = tables.tensors.size() * sizeof(hearth_tensor);
      break;
    case 3:
      bytes = reinterpret_cast<uint8_t*>(tables.files.data());
      size = tables.files.size() * sizeof(hearth_file);
      break;
    default: bytes = tables.flat.data(); size = tables.flat.size();
  }
  uint16_t word;
  std::memcpy(&word, record + 2, sizeof(word));
  std::memcpy(bytes + word % (size / 4) * 4, record + 4, 4);
}

/// A struct may say that it is smaller than it is.
template <class Struct>
void promise_size(Struct& value) {
  value.size = std::min<uint32_t>(value.size, sizeof(Struct));
}

void run_one_request(hearth_engine* engine) {
  const uint32_t tokens[] = {0, 0, 0};
  const hearth_request_options options = hearth::test::greedy_options(2);
  uint64_t request;
  hearth_error error = no_error();
  if (hearth_submit(engine, tokens, 3, &options, nullptr, &request, &error) != HEARTH_OK) {
    expect(error.message[0] != '\0', "an error has a message");
    return;
  }
  uint32_t num_tokens = 1;
  while (num_tokens > 0) {
    expect(hearth_step(engine, &num_tokens, &error) == HEARTH_OK, error.message);
  }
  expect(hearth_check_integrity(engine, &error) == HEARTH_OK, error.message);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const TinyModel model;
  Tables tables{model.options, model.spec, model.tensors, model.files, model.flat};
  tables.options.flat_bytes = uint32_t(tables.flat.size());
  tables.options.num_tensors = uint32_t(tables.tensors.size());
  tables.options.num_files = uint32_t(tables.files.size());
  const hearth_engine_options valid = tables.options;
  for (; size >= 8; data += 8, size -= 8) overwrite(tables, data);
  // What the caller promises: the sizes of buffers, and that structs are as large as they say. And
  // what would only make the fuzzer slow.
  promise_size(tables.options);
  promise_size(tables.spec);
  for (hearth_tensor& tensor : tables.tensors) promise_size(tensor);
  for (hearth_file& file : tables.files) promise_size(file);
  tables.options.flat_bytes = valid.flat_bytes;
  tables.options.num_tensors = valid.num_tensors;
  tables.options.num_files = valid.num_files;
  tables.options.manual = 1;
  tables.options.num_threads = 1;
  tables.options.memory_limit_bytes = 64 << 20;

  hearth_engine* engine = nullptr;
  hearth_error error = no_error();
  const hearth_status status =
      hearth_engine_open(&tables.options, &tables.spec, tables.tensors.data(), tables.files.data(),
                         tables.flat.data(), &engine, &error);
  expect((status == HEARTH_OK) == (engine != nullptr), "a handle comes with HEARTH_OK");
  expect((status == HEARTH_OK) == (error.message[0] == '\0'), "a message comes with an error");
  expect(status == error.status, "the error has the call's status");
  expect(status != HEARTH_INTERNAL, error.message);
  if (engine != nullptr) run_one_request(engine);
  hearth_engine_close(engine);
  return 0;
}
