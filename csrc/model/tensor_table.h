// The table of a model's tensors in its files, copied and checked.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "file_format.h"

namespace hearth {

/// A row of hearth_engine_open's table, copied.
struct TensorSource {
  std::string name;
  uint32_t role;
  int32_t layer;
  FileFormat format;
  int32_t rows;  // 1 for vectors
  int32_t cols;
  int32_t file;
  uint64_t offset;
  uint64_t num_bytes;
};

/// Copies and checks the table against its own buffers (not yet against spec or files).
/// Throws Error(HEARTH_INVALID_ARGUMENT).
std::vector<TensorSource> parse_tensors(const hearth_tensor* tensors, uint32_t count,
                                        uint32_t num_files, const uint8_t* flat, size_t flat_bytes);
std::vector<std::string> parse_files(const hearth_file* files, uint32_t count, const uint8_t* flat,
                                     size_t flat_bytes);

/// What the formats of a model's layers mean for how it is computed.
struct LayerTypes {
  bool any_quantized;  // a linear weight consists of quants
  /// In what tensor cores would take all linear weights: kF16 (quants too) or kBF16; kF32 where one
  /// is fp32 or they differ.
  DType operands;
};
LayerTypes layer_types(const std::vector<TensorSource>& tensors);

/// Of a norm, in whichever layer: its dummy is 1, not 0.
bool is_norm_weight(const TensorSource& tensor);

/// The tensors of a table by what they are, each to be taken once. All throw
/// Error(HEARTH_INVALID_ARGUMENT) for a table that does not fit.
class TensorTable {
 public:
  explicit TensorTable(const std::vector<TensorSource>& tensors);

  /// Null when absent.
  const TensorSource* take(uint32_t role, int32_t layer, int32_t rows, int32_t cols);
  const TensorSource& require(const char* what, uint32_t role, int32_t layer, int32_t rows,
                              int32_t cols);
  void expect_empty() const;

 private:
  std::map<std::pair<uint32_t, int32_t>, const TensorSource*> by_role_;
};

}  // namespace hearth
