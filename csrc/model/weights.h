// The weights of a model: from a table of tensors in files to views by name.
//
// DESIGN
//   The constructor checks everything that can be checked without reading weights: that each tensor
//   the spec calls for is there once, with its shape, and lies inside its file. It also fixes which
//   page every tile will be in.
//
//     file   |----- tensor: rows 0 .. n ------|
//     page   |tile 0|tile 1|tile 2| ... |  |tile k| ...     a tile never straddles two pages
//
//   Pages are 16 MiB (the unit that a pager moves), the last one only as long as needed. Ops find
//   them through a PageTable; this class owns the pages and is the only one to write it. Norm
//   weights and biases are small and always there: float32 in memory of their own, with addresses.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "../backend/backend.h"
#include "../backend/page_table.h"
#include "spec.h"
#include "tensor_table.h"
#include "weights_file.h"

namespace hearth {

struct LayerWeights {
  NormView attention_norm, q_norm, k_norm, mlp_norm;
  LinearView q, k, v, o, gate, up, down;
};

class Weights {
 public:
  static constexpr size_t kPageBytes = 16u << 20;

  /// Opens the files and plans the pages. dummy: no file is opened, load() makes random weights.
  /// Throws Error: INVALID_ARGUMENT (a tensor is missing, doubled, misshapen, or out of its file),
  /// IO_ERROR, UNSUPPORTED (no kernel for its type).
  Weights(Backend& backend, const ModelSpec& spec, std::vector<TensorSource> tensors,
          std::vector<std::string> paths, bool dummy);
  Weights(const Weights&) = delete;
  Weights& operator=(const Weights&) = delete;

  /// Bytes that load() will take on the device.
  size_t device_bytes() const { return device_bytes_; }
  /// Bytes that load() will read, or make up.
  uint64_t file_bytes() const { return file_bytes_; }
  /// Which the weights of linear ops have: bit i stands for DType(i).
  uint32_t linear_dtypes() const { return linear_dtypes_; }

  /// Allocates, reads and packs with num_threads threads; adds to bytes_loaded as it goes and gives
  /// up when cancelled turns true. Throws Error: OUT_OF_MEMORY, IO_ERROR, CLOSING (cancelled).
  void load(int32_t num_threads, std::atomic<uint64_t>& bytes_loaded,
            const std::atomic<bool>& cancelled);

  // Valid after load().
  WeightView token_embedding, position_embedding;
  LinearView project_in, project_out, lm_head;
  NormView final_norm;
  std::vector<LayerWeights> layers;

 private:
  /// Consecutive tiles of one tensor in one page.
  struct PageRun {
    const TensorSource* tensor;
    WeightView* view;
    int32_t first_tile;
    int32_t num_tiles;
    uint32_t page;
    uint32_t page_offset;
  };
  struct Vector {
    const TensorSource* tensor;
    const float** target;
    size_t offset;  // in floats, in the memory of vectors
  };

  void place(const TensorSource& tensor, WeightView& view);
  void place(const TensorSource& tensor, const float*& vector);
  void allocate();
  void load_vectors(std::atomic<uint64_t>& bytes_loaded);
  void fill(const Vector& vector, float* to) const;

  Backend& backend_;
  const bool dummy_;
  std::vector<TensorSource> tensors_;
  std::vector<WeightsFile> files_;
  std::vector<PageRun> runs_;
  std::vector<Vector> vectors_;
  std::vector<size_t> page_bytes_;  // used, a page each
  std::vector<Memory> arenas_;      // of several pages
  std::vector<std::byte*> pages_;
  std::unique_ptr<PageTable> table_;
  size_t vector_floats_ = 0;
  Memory vector_memory_;
  size_t device_bytes_ = 0;
  uint64_t file_bytes_ = 0;
  uint32_t linear_dtypes_ = 0;
};

}  // namespace hearth
