// The weights of a model: from a table of tensors in files to packed views in pages.
//
// DESIGN
//   The constructor checks everything that can be checked without reading weights: that each tensor
//   the spec calls for is there once, with its shape, and lies inside its file. It also fixes where
//   every tile will lie. load() then reads and packs in parallel, in any order: a tile's bytes
//   depend on its rows alone.
//
//     file   |----- tensor: rows 0 .. n ------|
//     page   |tile 0|tile 1|tile 2| ... |  |tile k| ...     a tile never straddles two pages
//
//   Pages are 16 MiB (the unit that a pager moves), the last one only as long as needed. Norm
//   weights and biases are small, kept as float32 in an arena of their own.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "../backend/backend.h"
#include "spec.h"
#include "weights_file.h"

namespace hearth {

struct LayerWeights {
  NormView attention_norm, q_norm, k_norm, mlp_norm;
  LinearView q, k, v, o, gate, up, down;
};

/// A row of hearth_engine_open's table, copied.
struct TensorSource {
  std::string name;
  uint32_t role;
  int32_t layer;
  DType dtype;
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

/// What the dtypes of a model's layers mean for how it is computed.
struct LayerTypes {
  bool any_quantized;  // a linear weight consists of quants
  /// In what tensor cores would take all linear weights: kF16 (quants too) or kBF16; kF32 where one
  /// is fp32 or they differ.
  DType operands;
};
LayerTypes layer_types(const std::vector<TensorSource>& tensors);

class Weights {
 public:
  static constexpr size_t kPageBytes = 16u << 20;

  /// Opens the files and plans the pages. dummy: no file is opened, load() makes random weights.
  /// Throws Error: INVALID_ARGUMENT (a tensor is missing, doubled, misshapen, or out of its file),
  /// IO_ERROR, UNSUPPORTED (no kernel for its type).
  Weights(Backend& backend, const ModelSpec& spec, std::vector<TensorSource> tensors,
          std::vector<std::string> paths, bool dummy);
  ~Weights();
  Weights(const Weights&) = delete;
  Weights& operator=(const Weights&) = delete;

  /// Bytes that load() will take on the device.
  size_t device_bytes() const { return device_bytes_; }
  /// Bytes that load() will read, or make up.
  uint64_t file_bytes() const { return file_bytes_; }

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
  struct TileRun {
    const TensorSource* tensor;
    WeightView* view;
    int32_t first_tile;
    int32_t num_tiles;
    size_t page;
    size_t page_offset;
  };
  struct Vector {
    const TensorSource* tensor;
    const float** target;
    size_t offset;  // in floats, in the arena of vectors
  };

  void place(const TensorSource& tensor, WeightView& view);
  void place(const TensorSource& tensor, const float*& vector);
  void allocate();
  void load_tiles(const TileRun& run, int32_t first_tile, int32_t num_tiles) const;
  void load_vector(const Vector& vector) const;
  void load_files(int32_t num_threads, std::atomic<uint64_t>& bytes_loaded,
                  const std::atomic<bool>& cancelled) const;
  void make_dummies(std::atomic<uint64_t>& bytes_loaded, const std::atomic<bool>& cancelled) const;

  Backend& backend_;
  const bool dummy_;
  std::vector<TensorSource> tensors_;
  std::vector<WeightsFile> files_;
  std::vector<TileRun> runs_;
  std::vector<Vector> vectors_;
  std::vector<size_t> page_bytes_;  // used, a page each
  std::vector<std::byte*> pages_;
  size_t vector_floats_ = 0;
  std::byte* vector_arena_ = nullptr;
  size_t device_bytes_ = 0;
  uint64_t file_bytes_ = 0;
};

}  // namespace hearth
