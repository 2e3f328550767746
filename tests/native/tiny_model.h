// A Llama of 2 layers with random weights, as hearth_engine_open takes it: a file, a table, a
// buffer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "hearth.h"

namespace hearth::test {

struct TinyModel {
  /// Writes the weights into a file of the temporary folder, removed by the destructor.
  TinyModel();
  ~TinyModel();
  TinyModel(const TinyModel&) = delete;
  TinyModel& operator=(const TinyModel&) = delete;

  static constexpr uint32_t kVocab = 50;

  std::string path;
  hearth_engine_options options{};
  hearth_model_spec spec{};
  std::vector<hearth_tensor> tensors;
  std::vector<hearth_file> files;
  std::vector<uint8_t> flat;

  /// The options with the sizes of the tables.
  hearth_engine_options sized_options() const;
  hearth_status open(hearth_engine** engine, std::string& error) const;

 private:
  void add_tensor(uint32_t role, uint32_t layer, uint32_t rows, uint32_t cols,
                  std::vector<float>& weights);
  uint32_t add_flat(const void* bytes, size_t count);
};

/// Options of a request that is greedy and has no extras.
hearth_request_options greedy_options(uint32_t max_tokens);

}  // namespace hearth::test
